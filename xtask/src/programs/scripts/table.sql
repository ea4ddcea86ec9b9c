-- A table of sales: built, changed, queried and checked.
PRAGMA journal_mode = wal;
PRAGMA cache_size = -8000;
CREATE TABLE sale (id INTEGER PRIMARY KEY, shop INTEGER, item TEXT, price INTEGER, note TEXT);

BEGIN;
WITH RECURSIVE step (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < ROWS)
INSERT INTO sale
SELECT n, (n * 7919) % 997, 'item ' || ((n * 104729) % 5003), (n * 31337) % 10007,
       substr(hex(n * 2654435761), 1, 4 + n % 24)
FROM step;
COMMIT;

CREATE INDEX sale_by_shop ON sale (shop, price);
CREATE INDEX sale_by_item ON sale (item);
UPDATE sale SET note = note || ' changed' WHERE id % 11 = 0;
DELETE FROM sale WHERE id % 13 = 0;

SELECT count(*), sum(price), min(note), max(note), sum(length(note)) FROM sale;
SELECT shop, count(*), sum(price) AS total FROM sale GROUP BY shop ORDER BY total DESC LIMIT 10;
SELECT item, count(DISTINCT shop), group_concat(price) FROM sale
WHERE id < 5000 GROUP BY item ORDER BY item LIMIT 10;
SELECT count(*), sum(b.price) FROM sale AS a JOIN sale AS b ON a.item = b.item AND b.id < a.id
WHERE a.id % 500 = 0;
SELECT substr(note, 1, 2) AS head, count(*) FROM sale GROUP BY head ORDER BY 2 DESC, 1 LIMIT 5;
VACUUM;
PRAGMA integrity_check;
