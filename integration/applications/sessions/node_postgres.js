// node-postgres: a pool, named queries, cursors, transactions, LISTEN, errors.
const { Pool, Client } = require('pg');

const tell = (label, value) => console.log(`${label}: ${JSON.stringify(value)}`);
const IDENTITY = "select current_user, current_setting('search_path') as path,"
  + " current_setting('timezone') as zone, current_setting('statement_timeout') as timeout";

async function refused(label, promise) {
  try {
    await promise;
    tell(label, 'not refused');
  } catch (error) {
    tell(label, error.code);
  }
}

async function oneClient() {
  const client = new Client({ statement_timeout: 98765, application_name: 'node', options: '-c search_path=shop' });
  const heard = [];
  client.on('notification', (message) => heard.push([message.channel, message.payload]));
  client.on('notice', (notice) => tell('notice', notice.message));
  await client.connect();
  await client.query("set time zone 'America/Sao_Paulo'");
  for (let n = 1; n < 6; ++n) {
    tell('identity', (await client.query(IDENTITY)).rows[0]);
    tell('named', (await client.query({ name: 'by name', text: 'select name, price from products where id = $1', values: [n] })).rows);
    tell('also named', (await client.query({ name: 'mine', text: 'select $1::int + 1 as sum', values: [n], rowMode: 'array' })).rows);
  }
  await refused('another text by that name', client.query({ name: 'mine', text: 'select 2' }));
  await refused('syntax', client.query('selec'));
  await refused('named, wrong value', client.query({ name: 'by name', text: 'select name, price from products where id = $1', values: ['x'] }));
  tell('several', (await client.query("set local time zone 'UTC'; select 1 as a; select 2 as b")).map((result) => result.command));
  await client.query("do $$ begin raise notice 'noted in %', current_setting('timezone'); end $$");

  await client.query('listen orders');
  await client.query("create trigger telling after insert on orders for each row execute function shop.tell()");
  const other = new Client();
  await other.connect();
  await other.query("insert into shop.orders (tenant, product, amount) values ('node', 1, 3), ('node', 2, 4)");
  await other.end();
  for (let n = 0; n < 200 && heard.length < 2; ++n) await new Promise((resolve) => setTimeout(resolve, 25));
  tell('heard', heard);
  await client.query('unlisten orders');
  await client.query('drop trigger telling on orders');

  await client.query('begin');
  const values = [];
  await client.query('declare c cursor for select id from products order by id');
  values.push((await client.query({ text: 'fetch 3 from c', rowMode: 'array' })).rows);
  values.push((await client.query({ text: 'fetch 2 from c', rowMode: 'array' })).rows);
  await client.query('commit');
  tell('cursor', values);
  tell('changed', (await client.query('select changed from products where id = 1')).rows[0].changed.toISOString());
  await client.query('discard all');
  tell('discarded', (await client.query(IDENTITY)).rows[0]);
  await client.end();
}

async function transfer(pool, tenant) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query("select set_config('app.tenant', $1, true), set_config('role', 'shop_reader', true)", [tenant]);
    const seen = (await client.query('select count(*)::int as n, min(tenant) as least, max(tenant) as most from shop.visible')).rows[0];
    await client.query('RESET ROLE');
    await client.query('insert into shop.orders (tenant, product, amount) values ($1, 1, $2)', [tenant, 5]);
    if (tenant === 'tenant2') throw new Error('changed my mind');
    await client.query('COMMIT');
    return seen;
  } catch (error) {
    await client.query('ROLLBACK');
    return error.code || error.message;
  } finally {
    client.release();
  }
}

async function aPool() {
  const pool = new Pool({ max: 4, application_name: 'pooled' });
  const results = await Promise.all([...Array(16).keys()].map((n) => transfer(pool, `tenant${n % 4}`)));
  tell('transfers', results);
  tell('orders', (await pool.query("select tenant, count(*)::int from shop.orders where amount = 5 group by 1 order by 1")).rows);
  const named = await Promise.all([...Array(20).keys()].map((n) =>
    pool.query({ name: `statement ${n % 5}`, text: `select ${n % 5} as which, $1::int as n`, values: [n] })));
  tell('named', named.map((result) => result.rows[0]));
  tell('types', (await pool.query("select 1::bigint as big, 1.5::numeric as numeric, true as yes, null as nothing,"
    + " '{1,2}'::int[] as list, '{\"a\": [1]}'::jsonb as json, '\\x0102'::bytea as bytes")).rows);
  await pool.end();
}

oneClient().then(aPool).catch((error) => {
  console.log('failed:', error);
  process.exitCode = 1;
});
