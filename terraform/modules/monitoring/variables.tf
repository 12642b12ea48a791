variable "name" {
  description = "What everything of this environment is called."
  type        = string
}

variable "mail" {
  description = "Who is told."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+$", var.mail))
    error_message = "An address is such as operators@example.org."
  }
}

variable "database_identifier" {
  description = "Which database is watched."
  type        = string
}

variable "budget_usd" {
  description = "What a month may cost."
  type        = number
  validation {
    condition     = var.budget_usd > 0
    error_message = "A month costs something."
  }
}
