/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmd_given.c: a packet given on the command line
 *
 * Hexadecimal digits, with blanks, colons and line ends between bytes as they
 * come from other tools; or @FILE, which holds the packet as it is, or a
 * capture whose first packet is taken. A capture is told by its first four
 * bytes, none of which could begin an IP packet; its link-layer header is
 * passed over by its length, and where that is not fixed (VLAN tags) by what
 * it says.
 */
#include <ctype.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

#define VLAN_BYTES 4

static uint8_t packet[PKT_MAX];

static const struct {
	int type, header; /* DLT_, bytes */
} links[] = {
	{DLT_RAW, 0},  {DLT_IPV4, 0},    {DLT_IPV6, 0},       {DLT_NULL, 4},
	{DLT_LOOP, 4}, {DLT_EN10MB, 14}, {DLT_LINUX_SLL, 16}, {DLT_LINUX_SLL2, 20},
};

/* First bytes of captures: microseconds and nanoseconds in either byte order, and pcapng */
static const uint8_t magics[][4] = {
	{0xa1, 0xb2, 0xc3, 0xd4}, {0xd4, 0xc3, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d},
	{0x4d, 0x3c, 0xb2, 0xa1}, {0x0a, 0x0d, 0x0d, 0x0a},
};

/**
 * digit() - value of a hexadecimal digit
 * @c: digit
 */
static unsigned digit(char c)
{
	return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(tolower((unsigned char)c) - 'a') + 10;
}

/**
 * from_hex() - a packet from digits
 * @text: digits
 * @length: set, bytes
 *
 * Return: the packet; or NULL, and it has been said why
 */
static const uint8_t *from_hex(const char *text, size_t *length)
{
	size_t n = 0;

	for (; *text; text++) {
		if (isspace((unsigned char)*text) || *text == ':')
			continue;
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1])) {
			cmd_error("neither PORT nor PACKET: '%.20s' are not hexadecimal digits in pairs", text);
			return NULL;
		}
		if (n == sizeof(packet)) {
			cmd_error("longer than an IP packet can be (%u bytes)", PKT_MAX);
			return NULL;
		}
		packet[n++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
		text++;
	}
	*length = n;
	return packet;
}

/**
 * link_header() - bytes before the IP packet in a frame
 * @type: DLT_
 * @frame: frame
 * @size: bytes of it
 *
 * Return: bytes; -1 for a link type that is not known
 */
static int link_header(int type, const uint8_t *frame, size_t size)
{
	size_t header, i;

	for (i = 0; i < ARRAY_SIZE(links); i++) {
		if (links[i].type != type)
			continue;
		header = (size_t)links[i].header;
		while (type == DLT_EN10MB && size >= header && frame[header - 2] == 0x81 && !frame[header - 1])
			header += VLAN_BYTES;
		return (int)header;
	}
	return -1;
}

/**
 * from_capture() - the first packet of a capture
 * @name: of the file, for messages
 * @pcap: open capture
 * @length: set, bytes
 *
 * Return: the packet; or NULL, and it has been said why
 */
static const uint8_t *from_capture(const char *name, pcap_t *pcap, size_t *length)
{
	struct pcap_pkthdr *head;
	const u_char *frame;
	int header;

	if (pcap_next_ex(pcap, &head, &frame) != 1) {
		cmd_error("%s: no packet in it", name);
		return NULL;
	}
	header = link_header(pcap_datalink(pcap), frame, head->caplen);
	if (header < 0) {
		cmd_error("%s: link type %d is not known", name, pcap_datalink(pcap));
		return NULL;
	}
	if (head->caplen < (unsigned)header || head->caplen - (unsigned)header > sizeof(packet)) {
		cmd_error("%s: the first packet is too short or too long", name);
		return NULL;
	}
	*length = head->caplen - (unsigned)header;
	memcpy(packet, frame + header, *length);
	return packet;
}

/**
 * is_capture() - whether a file's first bytes are those of a capture
 * @bytes: first bytes
 * @size: how many
 */
static bool is_capture(const uint8_t *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(magics); i++)
		if (size >= sizeof(magics[i]) && !memcmp(bytes, magics[i], sizeof(magics[i])))
			return true;
	return false;
}

/**
 * from_file() - a packet from a file
 * @name: of the file
 * @length: set, bytes; what is behind the longest packet there can be is left out
 *
 * Return: the packet; or NULL, and it has been said why
 */
static const uint8_t *from_file(const char *name, size_t *length)
{
	char text[PCAP_ERRBUF_SIZE];
	FILE *file = fopen(name, "re");
	const uint8_t *found;
	bool failed;
	pcap_t *pcap;

	if (!file) {
		cmd_error("%s: %s", name, strerror(errno));
		return NULL;
	}
	*length = fread(packet, 1, sizeof(packet), file);
	failed = ferror(file);
	fclose(file);
	if (failed || !*length) {
		cmd_error("%s: %s", name, failed ? "cannot be read" : "is empty");
		return NULL;
	}
	if (!is_capture(packet, *length))
		return packet;
	pcap = pcap_open_offline(name, text);
	if (!pcap) {
		cmd_error("%s: %s", name, text);
		return NULL;
	}
	found = from_capture(name, pcap, length);
	pcap_close(pcap);
	return found;
}

/**
 * cmd_given() - a packet from the command line
 * @argument: hexadecimal digits or @FILE
 * @length: set, bytes
 *
 * Return: the packet, which the next call overwrites; or NULL, and it has been said why
 */
const uint8_t *cmd_given(const char *argument, size_t *length)
{
	return argument[0] == '@' ? from_file(argument + 1, length) : from_hex(argument, length);
}
