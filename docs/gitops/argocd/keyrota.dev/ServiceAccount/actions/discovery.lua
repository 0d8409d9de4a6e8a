local external = obj.spec.authentication ~= nil and obj.spec.authentication.mode == "External"
local enabled = obj.spec.enabled ~= false
return {
  ["regenerate-client-secret"] = {disabled = external},
  ["regenerate-client-id"] = {disabled = external},
  ["enable"] = {disabled = enabled},
  ["disable"] = {disabled = not enabled},
}
