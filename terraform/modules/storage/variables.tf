variable "name" {
  description = "What everything of this environment is called."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "cidr" {
  description = "The network's addresses, which may mount the file system."
  type        = string
}

variable "subnet_ids" {
  description = "The private subnets."
  type        = list(string)
}

variable "cdn" {
  description = "The host that readers use, the gateway's own, and a certificate of us-east-1; null for none."
  type        = object({ host = string, origin = string, certificate_arn = string })
  default     = null
}
