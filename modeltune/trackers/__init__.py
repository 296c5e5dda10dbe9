"""Where people look besides our reports: TensorBoard and MLflow, told of what is recorded."""
