# What Prometheus in the cluster can't see: the managed servers themselves, and the bill.
resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = "alias/aws/sns"
}

resource "aws_sns_topic_subscription" "mail" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.mail
}

locals {
  alarms = {
    cpu     = { metric = "CPUUtilization", comparison = "GreaterThanThreshold", threshold = 80, about = "The database works at more than 80 %" }
    storage = { metric = "FreeStorageSpace", comparison = "LessThanThreshold", threshold = 5368709120, about = "The database has less than 5 GiB left" }
    lag     = { metric = "OldestReplicationSlotLag", comparison = "GreaterThanThreshold", threshold = 1073741824, about = "A replica is more than 1 GiB behind" }
  }
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = each.value.about
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = var.database_identifier }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_budgets_budget" "month" {
  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  notification {
    comparison_operator        = "GREATER_THAN"
    notification_type          = "FORECASTED"
    threshold                  = 100
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = [var.mail]
  }
}
