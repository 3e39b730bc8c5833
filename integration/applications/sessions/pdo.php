<?php
// PHP PDO: emulated and real prepares, transactions, errors, lastInsertId, COPY, LISTEN, large objects.

const IDENTITY = "select current_user, current_setting('search_path') as path, current_setting('timezone') as zone";

function tell($label, $value) {
    echo $label, ': ', json_encode($value), "\n";
}

function refused($label, $function) {
    try {
        tell($label, ['not refused' => $function()]);
    } catch (PDOException $error) {
        tell($label, $error->getCode());
    }
}

function connect(array $options) {
    $pdo = new PDO('pgsql:', null, null, $options + [PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM,
                                                    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $pdo->exec("set search_path = shop");
    $pdo->exec("set time zone 'Africa/Nairobi'");
    return $pdo;
}

function session($name, array $options) {
    $pdo = connect($options);
    $select = $pdo->prepare('select name, price from products where id = ? or name = ?');
    $two = $pdo->prepare('select :a::int + :b::int');
    for ($n = 1; $n < 6; ++$n) {
        $select->execute([$n, "product " . ($n + 10)]);
        tell("$name products", $select->fetchAll());
        $two->execute(['a' => $n, 'b' => 10]);
        tell("$name sum", $two->fetchColumn());
        tell("$name identity", $pdo->query(IDENTITY)->fetch());
    }
    refused("$name syntax", fn() => $pdo->query('selec'));
    refused("$name value", fn() => $select->execute(['x', 'y']));
    tell("$name again", $select->execute([2, '']) ? $select->fetchAll() : 'failed');

    $pdo->beginTransaction();
    $pdo->exec("insert into orders (tenant, product, amount) values ('php', 1, 1)");
    $id = $pdo->lastInsertId();
    tell("$name last insert", $pdo->query("select id = $id, $id = currval('orders_id_seq') from orders where tenant = 'php'")->fetch());
    $pdo->exec('savepoint one');
    refused("$name check", fn() => $pdo->exec("insert into orders (tenant, product, amount) values ('php', 1, -1)"));
    refused("$name failed", fn() => $pdo->query('select 1'));
    $pdo->exec('rollback to one');
    tell("$name in transaction", $pdo->inTransaction());
    $pdo->rollBack();
    tell("$name rolled back", $pdo->query("select count(*) from orders where tenant = 'php'")->fetchColumn());

    $pdo->beginTransaction();
    $pdo->exec('set local role shop_reader');
    $pdo->exec("select set_config('app.tenant', 'tenant1', true)");
    tell("$name visible", $pdo->query('select value from visible order by 1')->fetchAll(PDO::FETCH_COLUMN));
    $pdo->commit();
    tell("$name identity", $pdo->query(IDENTITY)->fetch());

    $pdo->pgsqlCopyFromArray('products', ["$name a\t1.5", "$name b\t2.5"], "\t", '\\\\N', 'name, price');
    tell("$name copied", $pdo->pgsqlCopyToArray("(select name, price from products where id > 20 order by name)"));
    $pdo->exec("delete from products where id > 20");

    $scroll = $pdo->prepare('select id from products order by id', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $pdo->beginTransaction();
    $scroll->execute();
    tell("$name scrolled", [$scroll->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 5),
                            $scroll->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_PRIOR)]);
    $scroll = null;
    $large = $pdo->pgsqlLOBCreate();
    $stream = $pdo->pgsqlLOBOpen($large, 'w');
    fwrite($stream, str_repeat('x', 20000));
    $stream = null;
    $pdo->commit();
    $pdo->beginTransaction();
    tell("$name large object", strlen(stream_get_contents($pdo->pgsqlLOBOpen($large, 'r'))));
    $pdo->pgsqlLOBUnlink($large);
    $pdo->commit();

    $pdo->exec('listen "told"');
    $other = connect($options);
    $other->exec("notify told, 'by $name'");
    $heard = $pdo->pgsqlGetNotify(PDO::FETCH_ASSOC, 5000);
    tell("$name heard", [$heard['message'], $heard['payload']]);
    $pdo->exec('unlisten *');
}

session('real', [PDO::ATTR_EMULATE_PREPARES => false]);
session('emulated', [PDO::ATTR_EMULATE_PREPARES => true]);
session('without names', [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
session('persistent', [PDO::ATTR_PERSISTENT => true]);
