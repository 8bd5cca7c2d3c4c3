-- What Argo CD shows as the health of Webhooks, WebhookEvents and WebhookDeliveries. It says the same as kstatus, which
-- Flux goes by, and beyond it that a Webhook is Suspended. A receiver that is down makes no Webhook Degraded: what is in
-- Git is right.
local status = obj.status or {}
local conditions = {}
for _, c in ipairs(status.conditions or {}) do
  conditions[c.type] = c
end

local function told(c)
  return c.reason .. ": " .. c.message
end

if next(conditions) == nil or (status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation) then
  return {status = "Progressing", message = "The operator has not seen it yet"}
end
local main = conditions.Ready or conditions.Delivered or conditions.Dispatched
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return {status = "Degraded", message = told(main or conditions.Stalled)}
end
if conditions.Reconciling ~= nil and conditions.Reconciling.status == "True" then
  return {status = "Progressing", message = told(main or conditions.Reconciling)}
end
if conditions.Ready ~= nil and conditions.Ready.status == "False" then
  return {status = "Degraded", message = told(conditions.Ready)}
end
if obj.kind == "Webhook" and obj.spec.state ~= nil and obj.spec.state ~= "Enabled" then
  return {status = "Suspended", message = "The Webhook is " .. obj.spec.state}
end
if conditions.Healthy ~= nil and conditions.Healthy.status == "False" then
  return {status = "Healthy", message = told(conditions.Healthy)}
end
return {status = "Healthy", message = main ~= nil and told(main) or ""}
