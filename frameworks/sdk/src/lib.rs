//! For authors of schedulers: sessions, durable records, leadership, offer matching, event streams
