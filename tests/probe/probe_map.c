/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_map.c: a process without any capability maps an inherited BPF array, and programs see what it writes
 *
 * The relay opens ports this way, in blocks that programs find in an array of
 * maps. Also: the value of steer.h's largest block is one that the kernel
 * accepts, and blocks can be put into the array of maps while a program runs.
 */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compat.h"
#include "steer.h"
#include "tap.h"

#define NOBODY 65534
#define VALUE 0x5a
#define OFFSET 20000 /* behind the first pages; an instruction's offset has 15 bits */

/**
 * load_reader() - load a program that returns one byte of a block, 0 when there is none
 * @outer: fd of the array of maps
 *
 * Return: fd, or -1.
 */
static int load_reader(int outer)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = outer},
		{0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 6, .imm = 0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_0},
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = 1, .imm = 0},
		{.code = BPF_LDX | BPF_MEM | BPF_B, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_0, .off = OFFSET},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "reader", "GPL", code, sizeof(code) / sizeof(*code), NULL);
}

/**
 * write_as_nobody() - give up everything, then map and write
 * @map: fd
 *
 * Return: 0, or what went wrong.
 */
static int write_as_nobody(int map)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	uint8_t *values;

	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
	    syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 1;
	values = mmap(NULL, sizeof(struct steer_open), PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (values == MAP_FAILED)
		return 2;
	close(map);
	values[OFFSET] = VALUE;
	return 0;
}

/**
 * array() - make a mmapable array
 * @size: of a value, bytes
 *
 * Return: fd, or -1.
 */
static int array(uint32_t size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "probe", sizeof(uint32_t), size, 1, &opts);
}

/**
 * array_of_maps() - make an array of maps
 * @like: fd of a map that those in it are like
 *
 * Return: fd, or -1.
 */
static int array_of_maps(int like)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = (uint32_t)like);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "probe", sizeof(uint32_t), sizeof(uint32_t), STEER_BLOCKS,
			      &opts);
}

int main(void)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	uint8_t frame[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 1);
	int allowed, open, outer, reader, status;
	const uint32_t first = 0;
	pid_t child;

	tap_need_root();
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	allowed = array(sizeof(struct steer_allowed));
	open = array(sizeof(struct steer_open));
	tap_ok(allowed >= 0 && open >= 0, "arrays of %zu and %zu byte values", sizeof(struct steer_allowed),
	       sizeof(struct steer_open));
	outer = array_of_maps(open);
	reader = load_reader(outer);
	if (reader < 0)
		tap_bail("load");
	tap_ok(bpf_prog_test_run_opts(reader, &run) == 0 && run.retval == 0, "the program finds no block");
	tap_ok(bpf_map_update_elem(outer, &first, &open, BPF_ANY) == 0, "a block is put in its place");
	tap_ok(bpf_prog_test_run_opts(reader, &run) == 0 && run.retval == 0, "the program reads a zero");
	child = fork();
	if (child == 0)
		_exit(write_as_nobody(open));
	waitpid(child, &status, 0);
	tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process without capabilities maps and writes");
	tap_ok(bpf_prog_test_run_opts(reader, &run) == 0 && run.retval == VALUE, "the program reads what it wrote");
	return tap_end();
}
