"""The simulated clock: nodes, activities, flows. No tensor."""
