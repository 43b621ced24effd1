/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay.c: run a fuzz target over inputs that are kept in files
 *
 * A main() for fuzz targets where there is no libFuzzer: with gcc, under
 * `make check`. Each argument is an input, or a directory of them. An input
 * that breaks the target ends the process; its name is on standard error.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX (1 << 20) /* bytes */

static char present[4096]; /* the input that runs now */

/**
 * on_crash() - say which input it was, and die of the same signal
 * @number: of the signal
 */
static void on_crash(int number)
{
	static const char text[] = "replay: ended by input ";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0 || write(STDERR_FILENO, present, strlen(present)) < 0 ||
	    write(STDERR_FILENO, "\n", 1) < 0)
		_exit(1);
	signal(number, SIG_DFL);
	raise(number);
}

/**
 * replay_file() - run one input
 * @path: of the file
 *
 * Return: 1, or -1 when it cannot be read
 */
static int replay_file(const char *path)
{
	static uint8_t input[INPUT_MAX];
	FILE *file = fopen(path, "re");
	size_t size;

	if (!file) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(input, 1, sizeof(input), file);
	fclose(file);
	snprintf(present, sizeof(present), "%s", path);
	LLVMFuzzerTestOneInput(input, size);
	return 1;
}

/**
 * replay_directory() - run every input in a directory
 * @path: of the directory; names that begin with a dot are passed over
 *
 * Return: how many, or -1 when one cannot be read
 */
static int replay_directory(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	char name[4096];
	int inputs = 0;

	if (!dir) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return -1;
	}
	while (inputs >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		inputs = replay_file(name) < 0 ? -1 : inputs + 1;
	}
	closedir(dir);
	return inputs;
}

/**
 * main() - replay what the arguments name
 *
 * Return: 0; 1 when something cannot be read, or when there was no input at all
 */
int main(int argc, char **argv)
{
	int i, n, inputs = 0;
	struct stat st;

	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	for (i = 1; i < argc; i++) {
		n = !stat(argv[i], &st) && S_ISDIR(st.st_mode) ? replay_directory(argv[i]) : replay_file(argv[i]);
		if (n < 0)
			return 1;
		inputs += n;
	}
	printf("replay: %d inputs\n", inputs);
	return inputs ? 0 : 1;
}
