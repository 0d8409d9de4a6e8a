-- Healthy: it is in force. Degraded: its spec cannot be used or contradicts another's, or its keys are not to be had.
local health = {status = "Progressing", message = "waiting for the Keyrota controller"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "being deleted"
  return health
end
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  -- Others were computed from an earlier spec.
  if condition.type == "Ready" and condition.observedGeneration == obj.metadata.generation then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    else
      health.status = "Degraded"
    end
  end
end
return health
