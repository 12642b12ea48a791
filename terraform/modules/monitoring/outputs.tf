output "topic_arn" {
  description = "Where other alarms can be sent."
  value       = aws_sns_topic.alarms.arn
}
