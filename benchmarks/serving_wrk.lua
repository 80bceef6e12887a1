-- What wrk does for benchmarks/serving_wrk.py, which writes the requests and reads the last line.
-- Arguments: the seed, and a file of whole requests, each of which ends with a zero byte.

local threads = {}
local requests = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  math.randomseed(tonumber(args[1]))
  local file = assert(io.open(args[2], "rb"))
  for raw in file:read("*a"):gmatch("(%Z+)%z") do
    table.insert(requests, raw)
  end
  file:close()
  -- wrk asks for one request that it only looks at.
  sent = -1
  degraded = 0
end

function request()
  sent = sent + 1
  return requests[math.random(#requests)]
end

function response(status, headers, body)
  local _, last = body:find('"degraded":[', 1, true)
  if last and body:byte(last + 1) ~= 93 then -- "]"
    degraded = degraded + 1
  end
end

-- Microseconds and how many answers took as many. wrk's own call for it walks through all microseconds for
-- each; this reads the same array, laid out as in wrk 4.
local function spent(latency)
  local ffi = require("ffi")
  local layout = "struct { uint64_t count, limit, min, max; uint64_t data[1]; } **"
  local stats = ffi.cast(layout, latency)[0]
  local found = {}
  if tonumber(stats.min) ~= latency.min or tonumber(stats.max) ~= latency.max then
    return nil
  end
  for at = latency.min, latency.max do
    local count = tonumber(stats.data[at])
    if count > 0 then
      table.insert(found, string.format("[%d,%d]", at, count))
    end
  end
  return found
end

function done(summary, latency)
  local sum = { sent = 0, degraded = 0 }
  for _, thread in ipairs(threads) do
    for name in pairs(sum) do
      sum[name] = sum[name] + thread:get(name)
    end
  end
  local found = summary.requests > 0 and spent(latency) or {}
  local errors = summary.errors
  io.write(string.format(
    '{"microseconds":%d,"sent":%d,"answered":%d,"degraded":%d,"connect":%d,"read":%d,"write":%d,'
      .. '"status":%d,"timeout":%d,"spent":[%s]}\n',
    summary.duration, sum.sent, summary.requests, sum.degraded, errors.connect, errors.read, errors.write,
    errors.status, errors.timeout, table.concat(found, ",")
  ))
end
