"""Speed, side by side: this engine, a bare pipeline and a plain event-sourced application on the same servers."""
