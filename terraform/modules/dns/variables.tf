variable "domain" {
  description = "The zone, such as example.org."
  type        = string
}

variable "host" {
  description = "The host that readers use, within the zone: that of PUBLIC_URL."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9.-]+$", var.host))
    error_message = "A host is such as library.example.org."
  }
}

variable "target" {
  description = "What the host points to: the load balancer that the gateway got. Empty until there is one."
  type        = string
  default     = ""
}
