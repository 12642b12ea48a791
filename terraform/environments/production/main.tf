# Production. Its state is its own: nothing done here can touch another environment.
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
    bucket       = "library-terraform-state-production"
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
      Environment = "production"
      ManagedBy   = "terraform"
    }
  }
}

locals {
  name = "library-production"
}

module "network" {
  source         = "../../modules/network"
  name           = local.name
  cidr           = "10.40.0.0/16"
  nat_gateways   = 3
  log_bucket_arn = module.storage.log_bucket_arn
}

module "cluster" {
  source             = "../../modules/cluster"
  name               = local.name
  kubernetes_version = "1.37"
  namespace          = "library"
  subnet_ids         = module.network.private_subnet_ids
  bucket_arn         = module.storage.bucket_arn
  instance_type      = "m7g.large"
  nodes              = { least = 3, most = 6 }
}

module "database" {
  source                   = "../../modules/database"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  engine_version           = "18.1"
  instance_class           = "db.m7g.large"
  storage_gib              = 50
  replicas                 = 1
  backup_days              = 30
}

module "cache" {
  source                   = "../../modules/cache"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  node_type                = "cache.t4g.small"
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
  domain = "library.example.org"
  host   = "library.example.org"
  target = var.gateway_address
}

module "monitoring" {
  source              = "../../modules/monitoring"
  name                = local.name
  mail                = var.operators_mail
  database_identifier = module.database.identifier
  budget_usd          = 1100
}
