"""What has to be done, by whom and by when: tasks, hours, routing, escalation."""
