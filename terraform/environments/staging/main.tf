# Staging. Its state is its own: nothing done here can touch another environment.
terraform {
  required_version = ">= 1.8"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
  # The bucket is made once by hand, versioned and encrypted; docs/deploy.md says how.
  backend "s3" {
    bucket       = "library-terraform-state-staging"
    key          = "library/terraform.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"
  default_tags {
    tags = {
      Project     = "library"
      Environment = "staging"
      ManagedBy   = "terraform"
    }
  }
}

locals {
  name = "library-staging"
}

module "network" {
  source         = "../../modules/network"
  name           = local.name
  cidr           = "10.41.0.0/16"
  nat_gateways   = 1
  log_bucket_arn = module.storage.log_bucket_arn
}

module "cluster" {
  source             = "../../modules/cluster"
  name               = local.name
  kubernetes_version = "1.37"
  namespace          = "library-staging"
  subnet_ids         = module.network.private_subnet_ids
  bucket_arn         = module.storage.bucket_arn
  instance_type      = "t4g.medium"
  nodes              = { least = 2, most = 3 }
}

module "database" {
  source                   = "../../modules/database"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  engine_version           = "18.1"
  instance_class           = "db.t4g.small"
  storage_gib              = 20
  replicas                 = 1
  backup_days              = 7
}

module "cache" {
  source                   = "../../modules/cache"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  node_type                = "cache.t4g.micro"
  password                 = var.redis_password
}

module "storage" {
  source     = "../../modules/storage"
  name       = local.name
  vpc_id     = module.network.vpc_id
  cidr       = module.network.cidr
  subnet_ids = module.network.private_subnet_ids
}

module "dns" {
  source = "../../modules/dns"
  domain = "staging.library.example.org"
  host   = "staging.library.example.org"
  target = var.gateway_address
}

module "monitoring" {
  source              = "../../modules/monitoring"
  name                = local.name
  mail                = var.operators_mail
  database_identifier = module.database.identifier
  budget_usd          = 350
}
