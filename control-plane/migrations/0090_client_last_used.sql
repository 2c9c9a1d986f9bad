-- When a machine last proved itself: one that nobody uses any more should be shut out.
ALTER TABLE oauth_client ADD COLUMN last_used_at timestamptz;
GRANT UPDATE (last_used_at) ON oauth_client TO medmesh_service;
