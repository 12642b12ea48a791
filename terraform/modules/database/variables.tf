variable "name" {
  description = "What everything of this environment is called."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "The private subnets."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "Who may connect: the cluster's pods."
  type        = string
}

variable "engine_version" {
  description = "PostgreSQL's version: that of docker-compose.yml."
  type        = string
  validation {
    condition     = can(regex("^1[5-9]\\.[0-9]+$", var.engine_version))
    error_message = "The service needs PostgreSQL 15 or newer, named such as 18.1."
  }
}

variable "instance_class" {
  description = "What the database runs on."
  type        = string
}

variable "storage_gib" {
  description = "Storage to begin with; it grows by itself to five times that."
  type        = number
  validation {
    condition     = var.storage_gib >= 20
    error_message = "At least 20 GiB."
  }
}

variable "replicas" {
  description = "Replicas that are read."
  type        = number
  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "There are 0 to 5 replicas."
  }
}

variable "backup_days" {
  description = "For how many days any second can be brought back."
  type        = number
  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "Backups are kept for 7 to 35 days."
  }
}
