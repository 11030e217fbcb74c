"""What a model costs: parameters, multiply-adds, throughput, memory."""
