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

variable "node_type" {
  description = "What each of the two runs on."
  type        = string
}

variable "password" {
  description = "The password of Redis, by TF_VAR_redis_password: not in a file. What it guards is a cache, and the state that holds it is encrypted."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.password) >= 32
    error_message = "The password needs 32 characters or more."
  }
}
