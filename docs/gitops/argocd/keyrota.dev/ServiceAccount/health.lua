-- Healthy: tokens are issued, or the account is disabled on purpose. Degraded: nothing changes without somebody.
local health = {status = "Progressing", message = "waiting for the Keyrota controller"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end
local stalled = false
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  -- Others were computed from an earlier spec.
  if condition.observedGeneration == obj.metadata.generation then
    if condition.type == "Stalled" and condition.status == "True" then
      stalled = true
    elseif condition.type == "Ready" then
      health.message = condition.message
      if condition.status == "True" then
        health.status = "Healthy"
      elseif condition.reason == "ReconcileFailed" then
        stalled = true
      end
    end
  end
end
if stalled then
  health.status = "Degraded"
end
return health
