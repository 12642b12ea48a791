output "address" {
  description = "The primary's host, for the secret redis_url (rediss://)."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}
