variable "name" {
  description = "What everything of this environment is called."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "A name has 3 to 31 small letters, digits and hyphens, and begins with a letter."
  }
}

variable "cidr" {
  description = "The network's addresses; FORWARDED_ALLOW_IPS of the overlay names the same."
  type        = string
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "The network must be a /16 such as 10.40.0.0/16."
  }
}

variable "nat_gateways" {
  description = "One saves money, three outlive the loss of a zone."
  type        = number
  validation {
    condition     = var.nat_gateways >= 1 && var.nat_gateways <= 3
    error_message = "There are 1 to 3 NAT gateways."
  }
}

variable "log_bucket_arn" {
  description = "The bucket that takes the network's log."
  type        = string
}
