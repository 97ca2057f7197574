"""Ways to compute a frame from earlier ones, all behind `likewise.video.method.Method`."""
