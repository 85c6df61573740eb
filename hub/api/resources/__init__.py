"""What the API answers with: one module for each noun."""
