-- Lasts where Git does not say spec.enabled, or Argo CD does not heal by itself.
obj.spec.enabled = false
return obj
