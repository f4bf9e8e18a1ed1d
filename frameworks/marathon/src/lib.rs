//! The app supervisor: Marathon v2 REST over a pure reconciler
