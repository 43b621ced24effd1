/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_conf.c: what a configuration may say, and what is said about one that is wrong
 *
 * Errors are compared whole; the order is that of the report.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_world.h"
#include "suite.h"
#include "util.h"

#define OVERFLOW(key, name)                                                                                          \
	key ": \"" name "\" is the kernel's overflow id (65534), which unmapped users of other user namespaces "     \
	    "appear as too; it needs overflow_id = yes\n"

#define NO_PREFIX "is neither an address nor a prefix (ADDRESS/LENGTH, no bits set behind the length)\n"
#define SPECIAL ", which cannot be a slice's\n"
#define EIGHT(a)                                                                                                     \
	"10." a ".0.0/24, 10." a ".1.0/24, 10." a ".2.0/24, 10." a ".3.0/24, 10." a ".4.0/24, 10." a                 \
	".5.0/24, 10." a ".6.0/24, 10." a ".7.0/24"
#define PREFIXES EIGHT("1") ", " EIGHT("2") ", " EIGHT("3") ", " EIGHT("4")

/* One slice that is right, to be made wrong */
#define SLICE(rest) "slice \"a\" { tcp = 40000-40009 users = root " rest " }"

static const struct {
	const char *text, *errors;
} bad[] = {
	/* text */
	{"\nrun_dir = \"${HOME}\"", MAIN ":2: \"${\": variables are not expanded\n"},
	{"\nrun_dir = ${HOME}", MAIN ":2: \"${\": variables are not expanded\n"},
	{"\nrun_dir = \"/a\\n\"", MAIN ":2: backslash in a string: there are no escapes\n"},
	{"\n\nrun_dir = \"/a\n\"", MAIN ":3: string is not closed on its line\n"},
	{"\n\nrun_dir = '/a", MAIN ":3: string is not closed on its line\n"},
	{"\n/* never\nclosed", MAIN ":2: comment is not closed\n"},
	{"\n# a \001 control character", MAIN ":2: control character (byte 1)\n"},
	{"\nrun_dir = '\t'", MAIN ":2: control character (byte 9)\n"},
	{"\nnetns \"x\" { uplinks = {eth*} }", MAIN ":2: '*' must stand between quotes\n"},
	{"\nrun_dir = /run//x", MAIN ":2: \"//\" inside a word: use quotes\n"},
	{"\nslice \"a\" {\n tcp = { 1", MAIN ":2: section is not closed\n"},
	{"\n}", MAIN ":2: closing brace without an opening one\n"},
	/* syntax */
	{"# one\n# two\n/* three\nfour */ nonsense = 1\n", MAIN ":4: no such option 'nonsense'\n"},
	{"\n" SLICE("\nnonsense = 1"), MAIN ":3: no such option 'nonsense'\n"},
	{"\n\nrun_dir \"/x\"", MAIN ":3: missing equal sign after option 'run_dir'\n"},
	{"\nslice { }", MAIN ":2: missing title for section 'slice'\n"},
	{"\nrun_dir =\n", MAIN ":3: premature end of file\n"},
	{"\ninclude(\"/etc/passwd\")", MAIN ":2: no such option 'include'\n"},
	{"\nrun_dir = {\"/a\"}", MAIN ":2: unexpected token '{'\n"},
	{"\nrun_dir = /a\n'' = 1", MAIN ":2: syntax error in this line or below\n"},
	{"\n" SLICE("\nlocal = no ''"), MAIN ":3: syntax error in this line or below\n"},
	{"\nquarantine = x\n'' = 1", MAIN ":2: syntax error in this line or below\n" MAIN
					  ":2: quarantine: \"x\" is not a number (a suffix k, M or G is allowed)\n"},
	{"\n\"slice=a|tcp\" = 1", MAIN ":2: no sub-section 'a' in 'slice'\n"},
	/* keys and sections given twice */
	{"\nrun_dir = /a\nrun_dir = /b", MAIN ":3: run_dir was given already in line 2\n"},
	{"\n" SLICE("\nlocal = no\n\nlocal = yes"), MAIN ":5: local was given already in line 3\n"},
	{"\n" SLICE("\nudp = {1025}\nudp = {1026, 1027}"), MAIN ":4: udp was given already in line 3\n"},
	{SLICE("") "\n" SLICE(""), MAIN ":2: slice \"a\" is defined already at " MAIN ":1\n"},
	{"netns \"x\" {path=/x}\nnetns \"x\" {path=/y}", MAIN ":2: netns \"x\" is defined already at " MAIN ":1\n"},
	/* names */
	{"\nslice \"A\" { }", MAIN ":2: \"A\" cannot be the name of a slice (a-z, 0-9, \"_-\", 1 to 31)\n"},
	{"\nslice \"\" { }", MAIN ":2: \"\" cannot be the name of a slice (a-z, 0-9, \"_-\", 1 to 31)\n"},
	{"\nslice \"../a\" { }", MAIN ":2: \"../a\" cannot be the name of a slice (a-z, 0-9, \"_-\", 1 to 31)\n"},
	{"\nnetns \"a23456789012345678901234567890123\" { }", MAIN
	 ":2: \"a23456789012345678901234567890123\" cannot be the name of a netns (a-z, 0-9, \"_-\", 1 to 31)\n"},
	{"\n/* three\nlines\n*/ slice \"A\" { }",
	 MAIN ":4: \"A\" cannot be the name of a slice (a-z, 0-9, \"_-\", 1 to 31)\n"},
	/* top-level values */
	{"\nrun_dir = x", MAIN ":2: run_dir: \"x\" is not an absolute path\n"},
	{"\nrun_dir = ''", MAIN ":2: run_dir: \"\" is not an absolute path\n"},
	{"\nquarantine = 2s", MAIN ":2: quarantine: \"2s\" is not a number (a suffix k, M or G is allowed)\n"},
	{"\ngrace = 3601k", MAIN ":2: grace: 3601k is not within 0..3600000\n"},
	{"\ngrace = -1", MAIN ":2: grace: \"-1\" is not a number (a suffix k, M or G is allowed)\n"},
	/* netns values */
	{"\nnetns \"x\" { path = x }", MAIN ":2: path: \"x\" is not an absolute path\n"},
	{"\nnetns \"x\" { tun = \"fifteenletters1\" }",
	 MAIN ":2: tun: \"fifteenletters1\" cannot be a device's name (letters, digits, \"._-\", 1 to 10)\n"},
	{"\nnetns \"x\" { tun = 'a/b' }",
	 MAIN ":2: tun: \"a/b\" cannot be a device's name (letters, digits, \"._-\", 1 to 10)\n"},
	{"\nnetns \"x\" { attach = xdp }", MAIN ":2: attach: \"xdp\" is none of auto, tcx, clsact\n"},
	{"\nnetns \"x\" { uplinks = {'a b'} }", MAIN ":2: uplinks: \"a b\" cannot be a pattern of device names\n"},
	{"\nnetns \"x\" { uplinks = {} }", MAIN ":2: uplinks: an empty list would leave nothing to work on\n"},
	{"\nnetns \"x\" { deny = 10.0.0.1/8 }",
	 MAIN ":2: deny: \"10.0.0.1/8\" is not a prefix (ADDRESS/LENGTH, no bits set behind the length)\n"},
	{"\nnetns \"x\" { path = /a }\nnetns \"y\" { path = /a }",
	 MAIN ":3: netns \"x\" and \"y\" have the same path\n"},
	{"\nnetns \"x\" { }\n" SLICE(""), MAIN ":2: netns \"x\" and \"default\" have the same path\n"},
	/* slice values */
	{"\nslice \"a\" { users = root }", MAIN
	 ":2: slice \"a\" has no ports: give it tcp, udp, icmp, sctp, dccp, udplite, gre, protocols or proxied\n"},
	{"\nslice \"a\" { tcp = 5000 }", MAIN ":2: slice \"a\" has neither users nor groups\n"},
	{SLICE("\nnetns = x"), MAIN ":2: slice \"a\": there is no netns \"x\"\n"},
	{SLICE("\nnetns = X"), MAIN ":2: netns: \"X\" is not a name (a-z, 0-9, \"_-\", 1 to 31)\n"},
	{SLICE("\nudp = 0"), MAIN ":2: udp: \"0\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n"},
	{SLICE("\nudp = 65536"), MAIN ":2: udp: \"65536\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n"},
	{SLICE("\nudp = 9-8"), MAIN ":2: udp: \"9-8\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n"},
	{SLICE("\nudp = 1023-2000"), MAIN ":2: udp: 1023-2000 reaches below 1024, which needs low_ports = yes\n"},
	{SLICE("\nlow_ports = maybe"), MAIN ":2: low_ports: \"maybe\" is neither yes nor no\n"},
	{SLICE("\nudp = {2000-3000,\n3000}"), MAIN ":3: udp: 3000 overlaps 2000-3000 of the same slice\n"},
	{SLICE("\nudp = {2001,2002,2003,2004,2005,2006,2007,2008,2009,2010,2011,2012,2013,2014,2015,\n2016}"),
	 MAIN ":3: udp: more than 16 ranges (all protocols together)\n"},
	{SLICE("\naddresses = 192.0.2.256"), MAIN ":2: addresses: \"192.0.2.256\" is not an address\n"},
	{SLICE("\naddresses = {127.0.0.1, ff02::1, '::', fe80::1}"),
	 MAIN ":2: addresses: 127.0.0.1 is not a unicast address that a slice can own\n" MAIN
	      ":2: addresses: ff02::1 is not a unicast address that a slice can own\n" MAIN
	      ":2: addresses: :: is not a unicast address that a slice can own\n" MAIN
	      ":2: addresses: fe80::1 is not a unicast address that a slice can own\n"},
	{SLICE("\naddresses = {192.0.2.1, '192.0.2.1'}"), MAIN ":2: addresses: 192.0.2.1 is there twice\n"},
	{SLICE("\naddresses = {}"),
	 MAIN ":1: addresses: an empty list would mean all of them: leave the key out for that\n"},
	{"\nslice \"a\" { tcp = 5000\nusers = no-such-user }", MAIN ":3: users: there is no user \"no-such-user\"\n"},
	{"\nslice \"a\" { tcp = 5000\nusers = '' }", MAIN ":3: users: there is no user \"\"\n"},
	{SLICE("\ngroups = no-such-group"), MAIN ":2: groups: there is no group \"no-such-group\"\n"},
	{SLICE("\ngroups = 4294967295"), MAIN ":2: groups: 4294967295 is no group id\n"},
	{"\nslice \"a\" { tcp = 5000\nusers = nobody }", MAIN ":3: " OVERFLOW("users", "nobody")},
	{"\nslice \"a\" { tcp = 5000\nusers = 65534 }", MAIN ":3: " OVERFLOW("users", "65534")},
	{SLICE("\ngroups = 65534"), MAIN ":2: " OVERFLOW("groups", "65534")},
	{SLICE("\nsniff_users = no-such-user"), MAIN ":2: sniff_users: there is no user \"no-such-user\"\n"},
	{SLICE("\nsniff_users = 65534"), MAIN ":2: " OVERFLOW("sniff_users", "65534")},
	{SLICE("\nsniff_groups = {root,\n'no-such-group'}"),
	 MAIN ":3: sniff_groups: there is no group \"no-such-group\"\n"},
	{"\nslice \"a\" { tcp = 5000\nsniff_users = root }", MAIN ":2: slice \"a\" has neither users nor groups\n"},
	{SLICE("\nclient_netns = run"), MAIN ":2: client_netns: \"run\" is not an absolute path\n"},
	{SLICE("\nflows = 0"), MAIN ":2: flows: 0 is not within 1..1000000\n"},
	{SLICE("\nlinks = 4096"), MAIN ":2: links: 4096 is not within 0..4095\n"},
	{SLICE("\nflows = 18446744073709551617"),
	 MAIN ":2: flows: \"18446744073709551617\" is not a number (a suffix k, M or G is allowed)\n"},
	{SLICE("\nbits_in = 18446744074G"),
	 MAIN ":2: bits_in: \"18446744074G\" is not a number (a suffix k, M or G is allowed)\n"},
	{SLICE("\nbits_in = 1kk"), MAIN ":2: bits_in: \"1kk\" is not a number (a suffix k, M or G is allowed)\n"},
	{SLICE("\nbits_in = k"), MAIN ":2: bits_in: \"k\" is not a number (a suffix k, M or G is allowed)\n"},
	{SLICE("\nqueue = 100"), MAIN ":2: queue: 100 is not within 4608..67108864\n"},
	/* grants */
	{SLICE("\ngre = x"), MAIN ":2: gre: \"x\" is not a key or range (N or LOW-HIGH, 0 to 4294967295)\n"},
	{SLICE("\ngre = 4294967296"),
	 MAIN ":2: gre: \"4294967296\" is not a key or range (N or LOW-HIGH, 0 to 4294967295)\n"},
	{SLICE("\ngre = 9-8"), MAIN ":2: gre: \"9-8\" is not a key or range (N or LOW-HIGH, 0 to 4294967295)\n"},
	{SLICE("\ngre = '-8'"), MAIN ":2: gre: \"-8\" is not a key or range (N or LOW-HIGH, 0 to 4294967295)\n"},
	{SLICE("\ngre = 0-1024"), MAIN ":2: gre: 0-1024 are more than 1024 keys\n"},
	{SLICE("\ngre = {5-9,\n9}"), MAIN ":3: gre: 9 overlaps gre 5-9 of the same slice\n"},
	{SLICE("\nprotocols = {89,\nospf}"), MAIN ":3: protocols: ospf overlaps protocol 89 of the same slice\n"},
	{SLICE("\nprotocols = {0, 255, 256, nonsense, ''}"),
	 MAIN ":2: protocols: \"0\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"255\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"256\" is no protocol (a name, or 1 to 254)\n" MAIN
	      ":2: protocols: \"nonsense\" is no protocol (a name, or 1 to 254)\n" MAIN
	      ":2: protocols: \"\" is no protocol (a name, or 1 to 254)\n"},
	{SLICE("\nprotocols = {tcp, 17, 58, 132}"),
	 MAIN ":2: protocols: \"tcp\" is not granted whole: it has ports or identifiers, with tcp\n" MAIN
	      ":2: protocols: \"17\" is not granted whole: it has ports or identifiers, with udp\n" MAIN
	      ":2: protocols: \"58\" is not granted whole: it has ports or identifiers, with icmp\n" MAIN
	      ":2: protocols: \"132\" is not granted whole: it has ports or identifiers, with sctp\n"},
	{SLICE("\nprotocols = {43, 44, 50, 51, 60}"),
	 MAIN ":2: protocols: \"43\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"44\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"50\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"51\" cannot be granted: it is a header on the way to another, or none\n" MAIN
	      ":2: protocols: \"60\" cannot be granted: it is a header on the way to another, or none\n"},
	{SLICE("\nprotocols = gre"), MAIN ":2: protocols: \"gre\" is granted by its keys, with gre\n"},
	{SLICE("\ngre = {1,2,3,4,5,6,7,8}\nprotocols = {80,81,82,83,84,85,86,87,\n88}"),
	 MAIN ":4: protocols: more than 16 entries (gre and protocols together)\n"},
	{SLICE("gre = 5-9 protocols = 89") "\nslice \"b\" { gre = {1, 9-10} protocols = 89 users = root }",
	 MAIN ":2: slice \"b\": gre 9-10 overlaps gre 5-9 of slice \"a\" (" MAIN ":1)\n" MAIN
	      ":2: slice \"b\": protocol 89 overlaps protocol 89 of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("gre = 0-999") "\nslice \"b\" { gre = 1000-1024 users = root }\nslice \"c\" { gre = 2000 users = root "
			      "}",
	 MAIN ":2: slice \"b\": with it netns \"default\" has more than 1024 GRE keys and protocols\n"},
	/* proxied prefixes */
	{SLICE("\nproxied = {192.0.2.1/24, '2001:db8::1/64', x, 192.0.2.0/33, ''}"),
	 MAIN ":2: proxied: \"192.0.2.1/24\" " NO_PREFIX MAIN ":2: proxied: \"2001:db8::1/64\" " NO_PREFIX MAIN
	      ":2: proxied: \"x\" " NO_PREFIX MAIN ":2: proxied: \"192.0.2.0/33\" " NO_PREFIX MAIN
	      ":2: proxied: \"\" " NO_PREFIX},
	{SLICE("\nproxied = {0.0.0.0/0, 0.1.2.3, 127.0.0.1, 169.254.0.0/24, 192.0.0.0/24, 224.0.0.1, 240.0.0.0/4, "
	       "255.255.255.255}"),
	 MAIN ":2: proxied: 0.0.0.0/0 overlaps 0.0.0.0/8" SPECIAL MAIN
	      ":2: proxied: 0.1.2.3 overlaps 0.0.0.0/8" SPECIAL MAIN
	      ":2: proxied: 127.0.0.1 overlaps 127.0.0.0/8" SPECIAL MAIN
	      ":2: proxied: 169.254.0.0/24 overlaps 169.254.0.0/16" SPECIAL MAIN
	      ":2: proxied: 192.0.0.0/24 overlaps 192.0.0.8/32" SPECIAL MAIN
	      ":2: proxied: 224.0.0.1 overlaps 224.0.0.0/3" SPECIAL MAIN
	      ":2: proxied: 240.0.0.0/4 overlaps 224.0.0.0/3" SPECIAL MAIN
	      ":2: proxied: 255.255.255.255 overlaps 224.0.0.0/3" SPECIAL},
	{SLICE("\nproxied = {'::/0', '::1', '::ffff:192.0.2.1', '::ffff:0:0/96', 'fe80::/64', 'ff02::1', "
	       "'64:ff9b:1::/64', 'fe00::/7'}"),
	 MAIN ":2: proxied: ::/0 overlaps ::/8" SPECIAL MAIN ":2: proxied: ::1 overlaps ::/8" SPECIAL MAIN
	      ":2: proxied: ::ffff:192.0.2.1 overlaps ::/8" SPECIAL MAIN
	      ":2: proxied: ::ffff:0:0/96 overlaps ::/8" SPECIAL MAIN
	      ":2: proxied: fe80::/64 overlaps fe80::/10" SPECIAL MAIN
	      ":2: proxied: ff02::1 overlaps ff00::/8" SPECIAL MAIN
	      ":2: proxied: 64:ff9b:1::/64 overlaps ::/8" SPECIAL MAIN
	      ":2: proxied: fe00::/7 overlaps fe80::/10" SPECIAL},
	{SLICE("\nproxied = {198.51.100.0/24,\n198.51.100.64/28}"),
	 MAIN ":3: proxied: 198.51.100.64/28 overlaps 198.51.100.0/24 of the same slice\n"},
	{SLICE("\nproxied = {'2001:db8:9::7', '2001:db8:9::/64'}"),
	 MAIN ":2: proxied: 2001:db8:9::/64 overlaps 2001:db8:9::7/128 of the same slice\n"},
	{SLICE("\nproxied = {" PREFIXES ",\n203.0.113.1}"), MAIN ":3: proxied: more than 32\n"},
	{SLICE("proxied = {" PREFIXES "}") "\nslice \"b\" { proxied = 203.0.113.1 users = root }",
	 MAIN ":2: slice \"b\": with it netns \"default\" has more than 32 proxied prefixes\n"},
	{SLICE("proxied = {198.51.100.64/28, '2001:db8:9::/64'}") "\nslice \"b\" { proxied = {198.51.100.79, "
								  "'2001:db8:9::/48'} users = root }",
	 MAIN ":2: slice \"b\": proxied 198.51.100.79/32 overlaps 198.51.100.64/28 of slice \"a\" (" MAIN ":1)\n" MAIN
	      ":2: slice \"b\": proxied 2001:db8:9::/48 overlaps 2001:db8:9::/64 of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("addresses = {198.51.100.65, 192.0.2.1} proxied = 198.51.100.64/28"), MAIN
	 ":1: slice \"a\": proxied 198.51.100.64/28 holds 198.51.100.65, an address of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("addresses = '2001:db8:9::1'") "\nslice \"b\" { proxied = '2001:db8:9::/64' users = root }", MAIN
	 ":2: slice \"b\": proxied 2001:db8:9::/64 holds 2001:db8:9::1, an address of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("proxied = '2001:db8:9::/64'") "\nslice \"b\" { addresses = '2001:db8:9::1' tcp = 5000 users = root }",
	 MAIN ":1: slice \"a\": proxied 2001:db8:9::/64 holds 2001:db8:9::1, an address of slice \"b\" (" MAIN
	      ":2)\n"},
	/* all errors, not the first one alone */
	{"\nquarantine = x\nslice \"a\" {\ntcp = x\nusers = no-such-user }\nslice \"b\" {\ntcp = y\n}",
	 MAIN ":4: tcp: \"x\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n" MAIN
	      ":5: users: there is no user \"no-such-user\"\n" MAIN
	      ":7: tcp: \"y\" is not a port or range (N or LOW-HIGH, 1 to 65535)\n" MAIN
	      ":2: quarantine: \"x\" is not a number (a suffix k, M or G is allowed)\n"},
	{"\nslice \"a\" { tcp = 5\nusers = root }\nnonsense = 1",
	 MAIN ":2: tcp: 5 reaches below 1024, which needs low_ports = yes\n" MAIN ":4: no such option 'nonsense'\n"},
	/* two slices */
	{SLICE("") "\nslice \"b\" { tcp = {2000, 40009-50000} users = root }",
	 MAIN ":2: slice \"b\": tcp 40009-50000 overlaps 40000-40009 of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("addresses = 192.0.2.1") "\nslice \"b\" { tcp = 40000 users = root }",
	 MAIN ":2: slice \"b\": tcp 40000-40000 overlaps 40000-40009 of slice \"a\" (" MAIN ":1)\n"},
	{SLICE("addresses = 192.0.2.1") "\nslice \"b\" { tcp = 40000 users = root addresses = {2001:db8::1, "
					"192.0.2.1} }",
	 MAIN ":2: slice \"b\": tcp 40000-40000 overlaps 40000-40009 of slice \"a\" (" MAIN ":1)\n"},
};

START_TEST(bad_ones)
{
	put(MAIN, bad[_i].text);
	conf_free(load());
	ck_assert_str_eq(errors, bad[_i].errors);
	/* the library must not have kept anything from the failure: a good one still loads */
	put(MAIN, SLICE(""));
	conf_free(load());
	ck_assert_str_eq(errors, "");
}
END_TEST

static const char *const good[] = {
	"",
	"# comment only",
	"// comment # in \" comment\n/* ' \" { */\n" SLICE(""),
	SLICE("# comment with an apostrophe's quote\n"),
	SLICE("") "\r\n",
	SLICE("udp = {40000-40009, 50000,} icmp = 1-65535"),
	SLICE("udp += 5000 udp += {5001, 5002}"),
	SLICE("low_ports = yes udp = 53"),
	"slice a { gre = 7 users = root }",
	"slice a { protocols = {89, 'igmp'} users = root addresses = 192.0.2.1 } slice b { protocols = 89 users = "
	"root "
	"addresses = 192.0.2.2 }",
	SLICE("overflow_id = yes") " slice b { udp = 5 low_ports = on users = {nobody, 65534} overflow_id = true }",
	SLICE("") " slice b { udp = 40000-40009 users = {0} }",
	SLICE("addresses = 192.0.2.1") " slice b { tcp = 40000-40009 addresses = '2001:db8::1' groups = daemon }",
	SLICE("") " slice b { tcp = 40000-40009 netns = x users = root } netns x { path = /run/netns/x }",
	SLICE("groups = {} client_netns = {} deny = {}"),
	"slice a { proxied = 198.51.100.64/28 users = root }",
	SLICE("proxied = {" PREFIXES
	      "}") " slice b { proxied = 10.1.0.0/24 users = root netns = x } netns x { path = /x }",
	SLICE("proxied = {203.0.113.6/31, '203.0.113.8', '2001:db8:9::/64', '2001:db8:9:1::1'}") " slice b { proxied "
												 "= "
												 "{198.51.0.0/16, "
												 "'fc00::/7'} users "
												 "= root }",
};

START_TEST(good_ones)
{
	put(MAIN, good[_i]);
	conf_free(load());
	ck_assert_str_eq(errors, "");
}
END_TEST

START_TEST(defaults)
{
	struct conf *conf;

	put(MAIN, SLICE(""));
	conf = load();
	ck_assert_ptr_nonnull(conf);
	ck_assert_str_eq(conf->run_dir, RUN_DIR);
	ck_assert_str_eq(conf->relay_path, PKGLIBEXECDIR "/saferaw-relay");
	ck_assert_uint_eq(conf->relay_uid, 1);
	ck_assert_uint_eq(conf->relay_gid, 1);
	ck_assert_uint_eq(conf->quarantine_ms, 2000);
	ck_assert_uint_eq(conf->grace_ms, 10000);
	ck_assert_uint_eq(conf->netnses, 1);
	ck_assert_str_eq(conf->netns[0].name, "default");
	ck_assert_str_eq(conf->netns[0].path, "");
	ck_assert_str_eq(conf->netns[0].tun, "saferaw0");
	ck_assert_int_eq(conf->netns[0].attach, CONF_ATTACH_AUTO);
	ck_assert_uint_eq(conf->netns[0].uplinks, 1);
	ck_assert_str_eq(conf->netns[0].uplink[0], "*");
	ck_assert_uint_eq(conf->netns[0].denied, 2);
	ck_assert_uint_eq(conf->netns[0].deny[0].len, 128);
	ck_assert_uint_eq(conf->slices, 1);
	ck_assert_uint_eq(conf->slice[0].netns, 0);
	ck_assert_uint_eq(conf->slice[0].addresses, 0);
	ck_assert_uint_eq(conf->slice[0].clients_max, 64);
	ck_assert_uint_eq(conf->slice[0].flows_max, 4096);
	ck_assert_uint_eq(conf->slice[0].links_max, 64);
	ck_assert_uint_eq(conf->slice[0].queue_bytes, 212992);
	ck_assert_uint_eq(conf->slice[0].memory_bytes, 4096ull * 212992 * 2);
	ck_assert_uint_eq(conf->slice[0].packets_in | conf->slice[0].bits_out, 0);
	ck_assert(!conf->slice[0].local);
	ck_assert(!conf->slice[0].fragments);
	conf_free(conf);
}
END_TEST

START_TEST(nothing_used)
{
	struct conf *conf;

	put(MAIN, "");
	conf = load();
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(conf->netnses, 0);
	ck_assert_uint_eq(conf->slices, 0);
	conf_free(conf);
}
END_TEST

START_TEST(every_key)
{
	const struct conf_slice *slice;
	struct conf *conf;
	struct addr addr;

	put(MAIN, "run_dir = /r relay_path = '/p' quarantine = 1 grace = 0\n"
		  "netns \"n1\" { path = /n tun = t1 uplinks = {eth0, 'veth[0-9]'} attach = clsact deny = {} }\n"
		  "netns \"n2\" { path = /m attach = tcx deny = 198.51.100.0/24 }\n"
		  "slice \"s\" { netns = n2 addresses = {192.0.2.1, '2001:db8::1'} proxied = {198.51.100.64/28, "
		  "203.0.113.7, '2001:db8:9::/64'} tcp = {80, 4000-4999} udp = 53\n"
		  "icmp = 7-9 sctp = 132 dccp = 33-34 udplite = 136 gre = {0, 4294967000-4294967295} protocols = "
		  "{igmp, 89} users = {root, 12} groups = daemon client_netns "
		  "= {/run/netns/x, '/y'}\n"
		  "sniff_users = {13, daemon, 14} sniff_groups = {15, root}\n"
		  "deny = {10.0.0.0/8, 'fc00::/7'} clients = 3 flows = 100k links = 5 queue = 5k memory = 3G "
		  "packets_in = 1\n"
		  "packets_out = 2 bits_in = 10M bits_out = 1000G local = yes fragments = yes low_ports = yes "
		  "overflow_id = no }");
	conf = load();
	ck_assert_str_eq(errors, "");
	ck_assert_str_eq(conf->run_dir, "/r");
	ck_assert_str_eq(conf->relay_path, "/p");
	ck_assert_uint_eq(conf->quarantine_ms, 1);
	ck_assert_uint_eq(conf->grace_ms, 0);
	ck_assert_uint_eq(conf->netnses, 2);
	ck_assert_str_eq(conf->netns[0].path, "/n");
	ck_assert_str_eq(conf->netns[0].tun, "t1");
	ck_assert_uint_eq(conf->netns[0].uplinks, 2);
	ck_assert_str_eq(conf->netns[0].uplink[1], "veth[0-9]");
	ck_assert_int_eq(conf->netns[0].attach, CONF_ATTACH_CLSACT);
	ck_assert_uint_eq(conf->netns[0].denied, 0);
	ck_assert_str_eq(conf->netns[1].tun, "saferaw1");
	ck_assert_int_eq(conf->netns[1].attach, CONF_ATTACH_TCX);
	ck_assert_uint_eq(conf->netns[1].denied, 1);
	ck_assert_uint_eq(conf->netns[1].deny[0].len, 96 + 24);
	slice = &conf->slice[0];
	ck_assert_str_eq(slice->name, "s");
	ck_assert_uint_eq(slice->netns, 1);
	ck_assert_uint_eq(slice->addresses, 2);
	ck_assert(addr_parse("2001:db8::1", &addr) && addr_eq(&slice->address[1], &addr));
	ck_assert_uint_eq(slice->prefixes, 3);
	ck_assert(slice->prefix[0].len == 96 + 28 && slice->prefix[1].len == 128 && slice->prefix[2].len == 64);
	ck_assert(addr_parse("203.0.113.7", &addr) && addr_eq(&slice->prefix[1].addr, &addr));
	ck_assert_uint_eq(slice->ranges, 7);
	ck_assert(slice->range[1].class == CLASS_TCP && slice->range[1].lo == 4000 && slice->range[1].hi == 4999);
	ck_assert(slice->range[2].class == CLASS_UDP && slice->range[2].lo == 53 && slice->range[2].hi == 53);
	ck_assert(slice->range[3].class == CLASS_ICMP && slice->range[3].lo == 7 && slice->range[3].hi == 9);
	ck_assert(slice->range[4].class == CLASS_SCTP && slice->range[4].lo == 132);
	ck_assert(slice->range[5].class == CLASS_DCCP && slice->range[5].hi == 34);
	ck_assert_uint_eq(slice->grants, 4);
	ck_assert(slice->grant[0].protocol == 47 && slice->grant[0].lo == 0 && slice->grant[0].hi == 0);
	ck_assert(slice->grant[1].lo == 4294967000U && slice->grant[1].hi == 4294967295U);
	ck_assert(slice->grant[2].protocol == 2 && slice->grant[3].protocol == 89 && slice->grant[3].hi == 0);
	ck_assert(slice->range[6].class == CLASS_UDPLITE && slice->range[6].lo == 136);
	ck_assert(slice->users == 2 && slice->user[0] == 0 && slice->user[1] == 12);
	ck_assert(slice->groups == 1 && slice->group[0] == 1);
	ck_assert(slice->sniff_users == 3 && slice->sniff_user[1] == 1 && slice->sniff_user[2] == 14);
	ck_assert(slice->sniff_groups == 2 && slice->sniff_group[0] == 15 && slice->sniff_group[1] == 0);
	ck_assert_uint_eq(slice->peers, 2);
	ck_assert_str_eq(slice->peer[1], "/y");
	ck_assert_uint_eq(slice->denied, 2);
	ck_assert_uint_eq(slice->deny[1].len, 7);
	ck_assert_uint_eq(slice->clients_max, 3);
	ck_assert_uint_eq(slice->flows_max, 100000);
	ck_assert_uint_eq(slice->links_max, 5);
	ck_assert_uint_eq(slice->queue_bytes, 5000);
	ck_assert_uint_eq(slice->memory_bytes, 3000000000);
	ck_assert_uint_eq(slice->packets_in, 1);
	ck_assert_uint_eq(slice->packets_out, 2);
	ck_assert_uint_eq(slice->bits_in, 10000000);
	ck_assert_uint_eq(slice->bits_out, 1000000000000);
	ck_assert(slice->local);
	ck_assert(slice->fragments);
	conf_free(conf);
}
END_TEST

START_TEST(memory_is_capped)
{
	struct conf *conf;

	put(MAIN, SLICE("flows = 1M"));
	conf = load();
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_eq(conf->slice[0].memory_bytes, 2ull << 30);
	conf_free(conf);
}
END_TEST

START_TEST(drop_ins)
{
	struct conf *conf;

	put(MAIN, "grace = 1\n" SLICE(""));
	put(DROP_INS "20-b.conf", "slice b { tcp = 5000 users = root netns = x } grace = 3");
	put(DROP_INS "10-x.conf", "netns x { path = /x } grace = 2 quarantine = 4");
	put(DROP_INS "30-ignored.conf.bak", "nonsense");
	put(DROP_INS ".hidden.conf", "nonsense");
	conf = load();
	ck_assert_str_eq(errors, "");
	ck_assert_uint_eq(conf->grace_ms, 3);
	ck_assert_uint_eq(conf->quarantine_ms, 4);
	ck_assert_uint_eq(conf->slices, 2);
	ck_assert_uint_eq(conf->netnses, 2);
	ck_assert_uint_eq(conf->slice[1].netns, 0);
	ck_assert_uint_eq(conf->slice[0].netns, 1);
	conf_free(conf);
}
END_TEST

START_TEST(bad_drop_ins)
{
	put(MAIN, "\n" SLICE(""));
	put(DROP_INS "b.conf", "\n\n" SLICE("netns = y"));
	put(DROP_INS "a.conf", "\n\n\nslice c { tcp = 40001 users = root }");
	conf_free(load());
	ck_assert_str_eq(errors, DROP_INS
			 "b.conf:3: slice \"a\" is defined already at " MAIN ":2\n" DROP_INS
			 "a.conf:4: slice \"c\": tcp 40001-40001 overlaps 40000-40009 of slice \"a\" (" MAIN ":2)\n");
	/* a name that is missing may be in the rest of a file that broke off */
	put(MAIN, "\n" SLICE("netns = x"));
	put(DROP_INS "a.conf", "\"");
	put(DROP_INS "b.conf", "nonsense");
	conf_free(load());
	ck_assert_str_eq(errors, DROP_INS "a.conf:1: string is not closed on its line\n" DROP_INS
					  "b.conf:1: no such option 'nonsense'\n");
}
END_TEST

START_TEST(relay_users)
{
	static const struct {
		const char *user, *error;
	} users[] = {
		{"no-such-user", "relay_user: there is no user \"no-such-user\""},
		{"root",
		 "relay_user: \"root\" must be a user of the relay's own, not root or the kernel's overflow id"},
		{"nobody",
		 "relay_user: \"nobody\" must be a user of the relay's own, not root or the kernel's overflow id"},
		{"''", "relay_user: \"\" cannot be a user's name"},
	};
	char text[256], expected[256];
	unsigned i;

	put(MAIN, "");
	for (i = 0; i < ARRAY_SIZE(users); i++) {
		snprintf(text, sizeof(text), "\n\nrelay_user = %s", users[i].user);
		snprintf(expected, sizeof(expected), DROP_INS "u.conf:3: %s\n", users[i].error);
		put(DROP_INS "u.conf", text);
		conf_free(load());
		ck_assert_str_eq(errors, expected);
	}
}
END_TEST

START_TEST(files)
{
	char path[256], d[256];

	snprintf(path, sizeof(path), "%s/" MAIN, dir);
	snprintf(d, sizeof(d), "%s/" DROP_INS, dir);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ": cannot open: No such file or directory\n");
	put(MAIN, "");
	chmod(path, 0666);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ": is writable by everybody\n");
	chmod(path, 0644);
	chmod(d, 0777);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ".d: is writable by everybody\n");
	chmod(d, 0755);
	chmod(path, 0200);
	if (!geteuid())
		ck_assert_int_eq(seteuid(1), 0);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ": cannot open: Permission denied\n");
	if (!getuid())
		ck_assert_int_eq(seteuid(0), 0);
	unlink(path);
	mkfifo(path, 0644);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ": is not a regular file\n");
}
END_TEST

START_TEST(too_large)
{
	char path[256];

	put(MAIN, "");
	snprintf(path, sizeof(path), "%s/" MAIN, dir);
	ck_assert_int_eq(truncate(path, (1 << 20) + 1), 0);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ": larger than 1048576 bytes\n");
}
END_TEST

/**
 * put_many() - write many sections
 * @slices: of slices, else of netns
 * @n: how many
 */
static void put_many(bool slices, unsigned n)
{
	char *text = calloc(n, 80);
	size_t at = 0;
	unsigned i;

	for (i = 0; i < n; i++)
		at += (size_t)(slices ? sprintf(text + at, "slice s%u { tcp = %u users = root }\n", i, i + 2000)
				      : sprintf(text + at, "netns n%u { path = /n%u }\n", i, i));
	put(MAIN, text);
	free(text);
}

START_TEST(as_many_as_can_be)
{
	struct conf *conf;

	put_many(true, 1023);
	conf = load();
	ck_assert_str_eq(errors, "");
	ck_assert_uint_eq(conf->slices, 1023);
	ck_assert_str_eq(conf->slice[1022].name, "s1022");
	conf_free(conf);
	put_many(true, 1024);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ":1024: more than 1023 slices\n");
	put_many(false, 64);
	conf = load();
	ck_assert_uint_eq(conf->netnses, 64);
	conf_free(conf);
	put_many(false, 65);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ":65: more than 64 netns\n");
	put_many(false, 64);
	put(DROP_INS "a.conf", SLICE(""));
	conf_free(load());
	ck_assert_str_eq(errors, DROP_INS "a.conf:1: more than 64 netns\n");
}
END_TEST

START_TEST(long_lists)
{
	char *text = calloc(1, 65536), *at = text;
	unsigned i;

	at += sprintf(at, "netns default { deny = {");
	for (i = 0; i < 30; i++)
		at += sprintf(at, "10.0.%u.0/24,", i);
	at += sprintf(at, "} }\n" SLICE("deny = {192.0.2.1, 192.0.2.2, 192.0.2.3}"));
	put(MAIN, text);
	conf_free(load());
	ck_assert_str_eq(errors,
			 MAIN ":2: slice \"a\": its deny-list and its netns's have more than 32 prefixes together\n");
	at = text + sprintf(text, "slice a { tcp = 5000 users = {");
	for (i = 0; i < 65; i++)
		at += sprintf(at, "%u,", i + 5);
	sprintf(at, "} }");
	put(MAIN, text);
	conf_free(load());
	ck_assert_str_eq(errors, MAIN ":1: users: more than 64\n");
	free(text);
}
END_TEST

/** conf_suite() - all tests of this file */
static Suite *conf_suite(void)
{
	Suite *suite = suite_create("conf");
	TCase *tcase = tcase_create("conf");

	tcase_add_checked_fixture(tcase, world_begin, world_end);
	tcase_add_loop_test(tcase, bad_ones, 0, ARRAY_SIZE(bad));
	tcase_add_loop_test(tcase, good_ones, 0, ARRAY_SIZE(good));
	tcase_add_test(tcase, defaults);
	tcase_add_test(tcase, nothing_used);
	tcase_add_test(tcase, every_key);
	tcase_add_test(tcase, memory_is_capped);
	tcase_add_test(tcase, drop_ins);
	tcase_add_test(tcase, bad_drop_ins);
	tcase_add_test(tcase, relay_users);
	tcase_add_test(tcase, files);
	tcase_add_test(tcase, too_large);
	tcase_add_test(tcase, as_many_as_can_be);
	tcase_add_test(tcase, long_lists);
	suite_add_tcase(suite, tcase);
	return suite;
}

/** main() - run them */
int main(void)
{
	return suite_run(conf_suite());
}
