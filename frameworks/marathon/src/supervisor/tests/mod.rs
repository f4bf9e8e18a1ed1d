//! Transcripts of whole stories.
