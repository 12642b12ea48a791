variable "name" {
  description = "What everything of this environment is called."
  type        = string
}

variable "kubernetes_version" {
  description = "One of the two that k8s/ is checked against."
  type        = string
  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "A version is such as 1.37."
  }
}

variable "namespace" {
  description = "The overlay's namespace, whose service accounts may take the roles."
  type        = string
}

variable "subnet_ids" {
  description = "The private subnets, in three zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "The cluster stands in three zones."
  }
}

variable "bucket_arn" {
  description = "The bucket of covers, documents and the erasure ledger."
  type        = string
}

variable "instance_type" {
  description = "What a node is. Ten pods of half a core and 256 MiB fit on three of m7g.large."
  type        = string
}

variable "nodes" {
  description = "How many nodes there are at least and at most."
  type        = object({ least = number, most = number })
  validation {
    condition     = var.nodes.least >= 2 && var.nodes.most >= var.nodes.least
    error_message = "At least two nodes, and not more at least than at most."
  }
}
