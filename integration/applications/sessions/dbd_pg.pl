# Perl DBD::Pg: its own statement names (which it DEALLOCATEs in SQL), AutoCommit off and on, COPY.
use strict;
use warnings;
use DBI;

$| = 1;
my $IDENTITY = "select current_user, current_setting('search_path'), current_setting('timezone')";

sub tell_ { my ($label, @values) = @_; print "$label: ", join(' | ', map { defined $_ ? $_ : 'NULL' } @values), "\n"; }

sub refused {
    my ($label, $code) = @_;
    my $done = eval { $code->(); 1 };
    tell_($label, $done ? 'not refused' : $DBI::state);
}

sub connected {
    my (%with) = @_;
    my $dbh = DBI->connect('dbi:Pg:', '', '', { RaiseError => 1, PrintError => 0, PrintWarn => 0, %with });
    $dbh->do("set search_path = shop");
    $dbh->do("set time zone 'Asia/Kathmandu'");
    $dbh->commit unless $with{AutoCommit};
    return $dbh;
}

for my $autocommit (0, 1) {
    my $name = $autocommit ? 'autocommit' : 'transactions';
    my $dbh = connected(AutoCommit => $autocommit);
    my $finish = sub { $dbh->commit unless $autocommit };
    my $product = $dbh->prepare('select name, price from products where id = ?');
    my $order = $dbh->prepare('select count(*), sum(amount) from orders where tenant = ? and amount > ?');
    for my $n (1 .. 5) {
        $product->execute($n);
        tell_("$name product", $product->fetchrow_array);
        $product->finish;
        $finish->();
        $order->execute("tenant" . $n % 4, $n);
        tell_("$name orders", $order->fetchrow_array);
        $order->finish;
        tell_("$name identity", $dbh->selectrow_array($IDENTITY));
        $finish->();
        # Prepared, used and deallocated at once.
        tell_("$name once", $dbh->selectrow_array("select ?::int * $n", undef, $n));
        $finish->();
    }
    undef $order;
    refused("$name syntax", sub { $dbh->do('selec') });
    $dbh->rollback unless $autocommit;
    refused("$name value", sub { $product->execute('x') });
    unless ($autocommit) {
        refused("$name failed", sub { $dbh->selectrow_array('select 1') });
        $dbh->rollback;
    }
    $product->execute(3);
    tell_("$name again", $product->fetchrow_array);
    $product->finish;
    $finish->();

    $dbh->begin_work if $autocommit;
    $dbh->do("insert into orders (tenant, product, amount) values ('perl', 1, 1)");
    my $id = $dbh->last_insert_id(undef, 'shop', 'orders', undef);
    tell_("$name last insert", $dbh->selectrow_array("select id = ? from orders where tenant = 'perl'", undef, $id));
    $dbh->pg_savepoint('one');
    $dbh->do("set time zone 'Asia/Yangon'");
    refused("$name check", sub { $dbh->do("insert into orders (tenant, product, amount) values ('perl', 1, -1)") });
    $dbh->pg_rollback_to('one');
    tell_("$name identity", $dbh->selectrow_array($IDENTITY));
    $dbh->rollback;
    tell_("$name rolled back", $dbh->selectrow_array("select count(*) from orders where tenant = 'perl'"));
    $finish->();

    $dbh->begin_work if $autocommit;
    $dbh->do('set local role shop_reader');
    $dbh->do("set local app.tenant = 'tenant3'");
    tell_("$name visible", map { @$_ } @{ $dbh->selectall_arrayref('select value from visible order by 1') });
    $dbh->commit;

    $dbh->begin_work if $autocommit;
    $dbh->do('copy products (name, price) from stdin');
    $dbh->pg_putcopydata("$name $_\t$_\n") for 1 .. 500;
    $dbh->pg_putcopyend;
    $dbh->do("copy (select name from products where id > 20 order by id limit 3) to stdout");
    my $line;
    tell_("$name copied", $line =~ s/\n//r) while $dbh->pg_getcopydata($line) >= 0;
    $dbh->rollback;

    tell_("$name ping", $dbh->ping > 0, $dbh->pg_ping > 0);
    tell_("$name columns", map { $_->{COLUMN_NAME} }
        @{ $dbh->column_info(undef, 'shop', 'products', '%')->fetchall_arrayref({}) });
    tell_("$name keys", $dbh->primary_key(undef, 'shop', 'orders'));
    $finish->();

    $dbh->do('listen told');
    $finish->();
    my $other = connected(AutoCommit => 1);
    $other->do("notify told, 'by $name'");
    my $heard;
    for (1 .. 200) { $heard = $dbh->pg_notifies and last; select undef, undef, undef, 0.025; $finish->(); }
    tell_("$name heard", @{ $heard || [] }[0, 2]);
    $other->disconnect;
    $product->finish;
    undef $product;
    $dbh->disconnect;
}
