//! The nouns everybody shares: ids, resources, roles, task states, time
