// Says who it is among how many, and which MPI library it runs on. Compiled by modules.test.ts.
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static void library(char *path, size_t size) {
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    char *found = strchr(line, '/');
    if (found == NULL || strstr(found, "libmpich.so") == NULL) continue;
    found[strcspn(found, "\n")] = '\0';
    snprintf(path, size, "%s", found);
  }
  if (maps != NULL) fclose(maps);
}

int main(int argc, char **argv) {
  int rank = -1, size = -1, sum = -1, token = -1;
  char path[512] = "?";
  if (MPI_Init(&argc, &argv) != MPI_SUCCESS) return 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int mine = rank + 1;
  MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (rank == 0 && size > 1) MPI_Send(&sum, 1, MPI_INT, 1, 0, MPI_COMM_WORLD);
  if (rank == 1) MPI_Recv(&token, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  library(path, sizeof path);
  printf("rank %d of %d sum %d token %d on %s\n", rank, size, sum, token, path);
  return MPI_Finalize() == MPI_SUCCESS ? 0 : 1;
}
