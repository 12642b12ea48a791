output "address" {
  description = "The primary's host, for the secret database_url."
  value       = aws_db_instance.primary.address
}

output "replica_addresses" {
  description = "The replicas' hosts."
  value       = aws_db_instance.replica[*].address
}

output "password_secret_arn" {
  description = "Where AWS keeps the master's password; with it scripts/init-db.sql makes the service's own roles."
  value       = aws_db_instance.primary.master_user_secret[0].secret_arn
}

output "identifier" {
  description = "For alarms."
  value       = aws_db_instance.primary.identifier
}
