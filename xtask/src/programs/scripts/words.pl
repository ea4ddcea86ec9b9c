# Hashes of arrays, regular expressions and growing strings.
use strict;
use warnings;

my $state = 12345;
sub random { $state = ($state * 1103515245 + 12345) % 2147483648; return ($state >> 8) % $_[0]; }

for my $turn (1 .. $ARGV[0]) {
    my (%places, $text);
    for my $at (1 .. 60_000) {
        my $word = join '', map { chr(97 + random(26)) } 1 .. 2 + random(3);
        push @{ $places{$word} }, $at;
        $text .= "$word ";
    }
    my @often = (sort { @{ $places{$b} } <=> @{ $places{$a} } || $a cmp $b } keys %places)[0 .. 9];
    print "$turn $_ @{ $places{$_} }\n" for @often;
    my $changed = ($text =~ s/\b([aeiou])(\w+)/$2-$1/g);
    my %counts;
    $counts{ length $_ }++ for split /[ -]/, $text;
    print "$turn changed $changed: ", join(', ', map { "$_=$counts{$_}" } sort keys %counts), "\n";
    my @matrix = map { [ map { random(100) } 1 .. 100 ] } 1 .. 300;
    my @turned = map { my $c = $_; [ map { $_->[$c] } @matrix ] } 0 .. 99;
    my $sum = 0;
    $sum += $turned[$_][ $_ * 2 ] for 0 .. 99;
    print "$turn diagonal $sum\n";
}
