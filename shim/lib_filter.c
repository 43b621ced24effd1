/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_filter.c: filters of flows
 *
 * libpcap compiles an expression for packets that begin with the IP header
 * (DLT_RAW); the kernel runs the program over each message that the broker
 * puts into the flow (SO_ATTACH_FILTER, Documentation/networking/filter.rst).
 *
 * On a flow with SAFERAW_META a message begins with a struct saferaw_meta, so
 * the program is rewritten as if the packet began so many bytes further on:
 * each load from the packet is moved, the packet's length is that of the
 * message less the header, and so many bytes more are kept of what passes. An
 * offset that comes from the packet itself (the register X, after an MSH load)
 * is relative to the packet's start and stays. "Less the header" takes one
 * instruction more, so jumps are re-aimed.
 *
 * What libpcap does not make for such packets, and what could not be moved
 * (negative offsets are the kernel's own data about a packet), is refused.
 */
#include <errno.h>
#include <linux/filter.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libsaferaw_int.h"
#include "pkt.h"

#define GROWTH 2 /* instructions that one can turn into, at most */

/**
 * move_load() - the offset of a load, moved
 * @k: offset; changed
 * @by: bytes
 *
 * Return: whether it is an offset into the packet
 */
static bool move_load(uint32_t *k, unsigned by)
{
	if (*k > INT32_MAX - by)
		return false;
	*k += by;
	return true;
}

/**
 * shift_one() - rewrite one instruction
 * @to: holds the instruction; gets what it turns into, at most GROWTH
 * @by: bytes in front of the packet
 *
 * Return: how many instructions it has become, 0 when it cannot be moved
 */
static unsigned shift_one(struct sock_filter *to, unsigned by)
{
	switch (BPF_CLASS(to->code)) {
	case BPF_LD:
		if (BPF_MODE(to->code) == BPF_LEN) {
			to[1] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, by);
			return 2;
		}
		if (BPF_MODE(to->code) == BPF_ABS || BPF_MODE(to->code) == BPF_IND)
			return move_load(&to->k, by);
		return 1;
	case BPF_LDX:
		if (BPF_MODE(to->code) == BPF_MSH)
			return move_load(&to->k, by);
		return BPF_MODE(to->code) != BPF_LEN; /* X = length has no subtraction */
	case BPF_RET:
		if (to->k) /* 0 keeps nothing: it refuses the packet */
			to->k = to->k > UINT32_MAX - by ? UINT32_MAX : to->k + by;
		return BPF_RVAL(to->code) == BPF_K;
	default:
		return 1;
	}
}

/**
 * aim() - the distance of a jump between instructions that have moved
 * @place: where each instruction of the old program is in the new one
 * @at: of the jump, in the old program
 * @distance: in the old program
 * @count: instructions of the old program
 * @max: largest distance that there is room for
 * @aimed: set to the new distance
 *
 * Return: whether it exists and fits
 */
static bool aim(const uint32_t *place, unsigned at, uint32_t distance, unsigned count, uint32_t max, uint32_t *aimed)
{
	if (distance >= count - at - 1)
		return false;
	*aimed = place[at + 1 + distance] - place[at] - 1;
	return *aimed <= max;
}

/**
 * aim_jump() - re-aim one instruction, if it is a jump
 * @to: new program
 * @place: where each instruction of the old program is in the new one
 * @at: of the instruction, in the old program
 * @count: instructions of the old program
 *
 * Return: whether its targets exist and are within reach
 */
static bool aim_jump(struct sock_filter *to, const uint32_t *place, unsigned at, unsigned count)
{
	struct sock_filter *jump = &to[place[at]];
	uint32_t yes, no;

	if (BPF_CLASS(jump->code) != BPF_JMP)
		return true;
	if (BPF_OP(jump->code) == BPF_JA)
		return aim(place, at, jump->k, count, UINT32_MAX, &jump->k);
	if (!aim(place, at, jump->jt, count, UINT8_MAX, &yes) || !aim(place, at, jump->jf, count, UINT8_MAX, &no))
		return false;
	jump->jt = (uint8_t)yes;
	jump->jf = (uint8_t)no;
	return true;
}

/**
 * lib_filter_shift() - a program for packets that have so many bytes in front of them
 * @from: program for packets alone
 * @count: its instructions, at least one
 * @by: bytes in front; 0 copies the program as it is
 * @to: gets the program; room for twice as many instructions
 *
 * Return: instructions of the new program; 0 when it cannot be moved
 */
unsigned lib_filter_shift(const struct bpf_insn *from, unsigned count, unsigned by, struct sock_filter *to)
{
	uint32_t place[BPF_MAXINSNS];
	unsigned at, used = 0, n;

	if (count > BPF_MAXINSNS)
		return 0;
	for (at = 0; at < count; at++, used += n) {
		place[at] = used;
		to[used] = (struct sock_filter)BPF_JUMP(from[at].code, from[at].k, from[at].jt, from[at].jf);
		n = by ? shift_one(&to[used], by) : 1;
		if (!n)
			return 0;
	}
	for (at = 0; at < count; at++)
		if (!aim_jump(to, place, at, count))
			return 0;
	return used;
}

/**
 * attach() - give the kernel a compiled program for a flow
 * @flow: flow
 * @program: made by libpcap
 *
 * Return: 0; or -1 and errno
 */
static int attach(struct saferaw_flow *flow, const struct bpf_program *program)
{
	const unsigned by = flow->flags & SAFERAW_META ? sizeof(struct saferaw_meta) : 0;
	struct sock_filter *code = calloc(program->bf_len, GROWTH * sizeof(*code));
	struct sock_fprog fprog = {.filter = code};
	unsigned count;
	int n;

	if (!code)
		return lib_note(flow->saferaw, ENOMEM, strerrordesc_np(ENOMEM));
	count = lib_filter_shift(program->bf_insns, program->bf_len, by, code);
	fprog.len = (unsigned short)count;
	if (!count || count > BPF_MAXINSNS)
		n = lib_note(flow->saferaw, EINVAL, "the filter cannot be used on a flow, or is too large");
	else if (setsockopt(flow->fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog)) < 0)
		n = lib_note(flow->saferaw, errno, "the kernel does not take the filter");
	else
		n = 0;
	free(code);
	return n;
}

/**
 * compile() - compile an expression and attach it
 * @flow: flow
 * @expression: in the language of pcap-filter(7)
 * @snaplen: bytes to keep of a packet, at least one
 *
 * Return: 0; or -1 and errno
 */
static int compile(struct saferaw_flow *flow, const char *expression, unsigned snaplen)
{
	pcap_t *pcap = pcap_open_dead(DLT_RAW, (int)snaplen);
	struct bpf_program program;
	int n;

	if (!pcap)
		return lib_note(flow->saferaw, ENOMEM, strerrordesc_np(ENOMEM));
	if (pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		n = lib_note(flow->saferaw, EINVAL, pcap_geterr(pcap));
	} else {
		n = attach(flow, &program);
		pcap_freecode(&program);
	}
	pcap_close(pcap);
	return n;
}

/** saferaw_flow_filter() - receive only what a filter lets pass (saferaw.h) */
int saferaw_flow_filter(struct saferaw_flow *flow, const char *expression, unsigned snaplen)
{
	const int unused = 0;

	if (expression)
		return compile(flow, expression, snaplen && snaplen < PKT_MAX ? snaplen : PKT_MAX);
	if (setsockopt(flow->fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) < 0 && errno != ENOENT)
		return lib_note(flow->saferaw, errno, "the kernel does not take the filter away");
	return 0;
}
