"""`likewise watch`: frames of files and cameras, sent as streams; it uses the SDK, as any app does, and PyAV."""
