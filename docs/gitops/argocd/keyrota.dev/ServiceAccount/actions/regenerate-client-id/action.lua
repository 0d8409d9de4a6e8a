-- The imperative twin of spec.regenerate: Git does not name the annotation, so nothing goes out of sync.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["keyrota.dev/regenerate"] = "client-id@" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
