"""Model output -> typed results. Knows neither the model nor the study that was asked about."""
