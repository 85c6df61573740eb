"""What may become money: leads, pipelines, deals, attribution."""
