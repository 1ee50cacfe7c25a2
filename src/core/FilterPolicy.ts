/**
 * What of a source's entries goes into an image, the same for every source. The version is part of the packing profile, hence of the image
 * id: a change here must raise it.
 *
 * - Owners become root: a uid of the image means nobody on the cluster.
 * - setuid and setgid bits are cleared: roots are mounted nosuid.
 * - Devices, FIFOs and sockets are left out and counted: `/dev` is the node's.
 * - Extended attributes are left out (file capabilities, overlay and security labels among them).
 *
 * @module
 */
import type { TarType } from "./tar/TarEntry.js"

/** Raised with every change of what an image holds. */
export const version = 1

/** The mode bits that an image keeps. */
export const keptMode = (mode: number): number => mode & 0o1777

/** Whether entries of a type are kept. */
export const isKept = (type: TarType): boolean => type !== "character" && type !== "block" && type !== "fifo"
