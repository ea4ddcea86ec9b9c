-- Tables, closures, strings and coroutines.
local state = 12345
local function random(limit)
  state = (state * 1103515245 + 12345) % 2147483648
  return (state >> 8) % limit
end

for turn = 1, tonumber(arg[1]) do
  local by_key, closures = {}, {}
  for at = 1, 60000 do
    local key = "key" .. random(5000)
    by_key[key] = by_key[key] or {}
    table.insert(by_key[key], { at = at, text = string.rep("x", random(60)) })
  end
  local keys, total = {}, 0
  for key, list in pairs(by_key) do
    keys[#keys + 1] = key
    for _, item in ipairs(list) do total = total + #item.text end
  end
  table.sort(keys)
  print(turn, #keys, keys[1], keys[#keys], total)

  for at = 1, 20000 do
    local seen = random(1000)
    closures[at] = function(more) seen = seen + more; return seen end
  end
  total = 0
  for at = 1, #closures do total = total + closures[at](at % 7) end
  print(turn, "closures", total)

  local maker = function()
    return coroutine.wrap(function()
      local a, b = 0, 1
      while true do coroutine.yield(a); a, b = b, (a + b) % 1000003 end
    end)
  end
  total = 0
  for _ = 1, 2000 do
    local next_number = maker()
    for _ = 1, 20 do total = total + next_number() end
  end
  print(turn, "coroutines", total)

  local parts = {}
  for at = 1, 20000 do parts[at] = string.format("%d:%s", at, keys[1 + at % #keys]) end
  local joined = table.concat(parts, ",")
  local _, commas = joined:gsub("key(%d)", "%1 key")
  print(turn, "strings", #joined, commas)
end
