"""Aurum Coach: a self-hostable AI coach that knows your life."""
