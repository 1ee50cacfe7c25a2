/**
 * Disk images for the tests of `vm:`, in every format, made by Debian's tools of disks that `test/native/disks` makes.
 *
 * @module
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { FILE_SYSTEM_SIZE, type FileSystem, makeDisk, MIB, place } from '../native/disks/make.js'
import { runOk } from './process.js'

export const formats = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhd', 'vhdx', 'ova'] as const
export type Format = (typeof formats)[number]
export const layouts = ['bare', 'MBR', 'MBR logical', 'GPT', 'GPT+LVM'] as const
export type Layout = (typeof layouts)[number]
export const fileSystems = ['ext4', 'xfs', 'btrfs'] as const satisfies readonly FileSystem[]

/** A raw disk of a layout around a file system. */
export const layOut = async (layout: Layout, fileSystem: string, disk: string): Promise<string> => {
  switch (layout) {
    case 'bare':
      await runOk(['cp', '--sparse=always', fileSystem, disk])
      return disk
    case 'MBR':
      return makeDisk(disk, 'dos', [{ at: 1, file: fileSystem }])
    case 'MBR logical':
      return makeDisk(disk, 'dos', [{ at: 1, size: MIB, more: 'type=83' }, { at: 3, size: FILE_SYSTEM_SIZE + 4 * MIB, more: 'type=5' }, { at: 5, file: fileSystem }])
    case 'GPT':
      return makeDisk(disk, 'gpt', [{ at: 1, size: MIB, more: 'type=21686148-6449-6E6F-744E-656564454649' }, { at: 3, file: fileSystem }])
    case 'GPT+LVM': {
      await makeDisk(disk, 'gpt', [{ at: 1, size: FILE_SYSTEM_SIZE + 8 * MIB, more: 'type=E6D6D379-F507-44C2-A23C-238F2A3DF928' }])
      await logicalVolume(fileSystem, disk, MIB)
      return disk
    }
  }
}

/** One linear volume VG/root that holds a file system, at an offset of a disk; no volume is ever active on the host. */
const logicalVolume = async (fileSystem: string, disk: string, offset: number): Promise<void> => {
  const volume = `${disk}.pv`
  const group = `vg${createHash('sha256').update(disk).digest('hex').slice(0, 8)}`
  await runOk(['truncate', '-s', String(FILE_SYSTEM_SIZE + 8 * MIB), volume])
  const loop = (await runOk(['losetup', '--find', '--show', volume])).stdout.trim()
  const lvm = (program: string, ...args: readonly string[]) => runOk(['lvm', program, '--driverloaded', 'n', '-qq', '--config', `devices { filter=["a|^${loop}$|","r|.*|"] } backup { backup=0 archive=0 }`, ...args])
  try {
    await lvm('pvcreate', '--dataalignment', '1m', loop)
    await lvm('vgcreate', '-s', '4m', group, loop)
    await lvm('lvcreate', '--activate', 'n', '--zero', 'n', '--wipesignatures', 'n', '-n', 'root', '-L', `${FILE_SYSTEM_SIZE / MIB}m`, group)
  } finally {
    await runOk(['losetup', '--detach', loop])
  }
  // The only volume begins where the data of the physical one does.
  await place(fileSystem, volume, MIB)
  await place(volume, disk, offset)
  rmSync(volume)
}

/** A raw disk as an image of a format. */
export const inFormat = async (format: Format, raw: string, file: string): Promise<string> => {
  const convert = (to: string, ...options: readonly string[]) => runOk(['qemu-img', 'convert', '-f', 'raw', '-O', to, ...options, raw, file])
  switch (format) {
    case 'raw':
      await runOk(['cp', '--sparse=always', raw, file])
      break
    case 'vhd':
      await convert('vpc', '-o', 'force_size=on')
      break
    case 'ova':
      await makeOva(raw, file)
      break
    default:
      await convert(format)
  }
  return file
}

export const descriptor = (disk: string, more = ''): string =>
  `<?xml version="1.0"?>\n<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">\n` +
  `<References><File ovf:id="file1" ovf:href="${disk}"/></References>\n<DiskSection><Disk ovf:diskId="d1" ovf:fileRef="file1" ovf:capacity="1"/>${more}</DiskSection>\n<VirtualSystem ovf:id="vm"/>\n</Envelope>\n`

/** An OVA with a manifest. `change` may change its files before they are put into the archive. */
export const makeOva = async (raw: string, file: string, change: (directory: string) => void = () => undefined): Promise<string> => {
  const directory = `${file}.files`
  mkdirSync(directory)
  await runOk(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', raw, join(directory, 'disk1.vmdk')])
  writeFileSync(join(directory, 'vm.ovf'), descriptor('disk1.vmdk'))
  const hash = (name: string) => `SHA256(${name})= ${createHash('sha256').update(readFileSync(join(directory, name))).digest('hex')}\n`
  writeFileSync(join(directory, 'vm.mf'), hash('vm.ovf') + hash('disk1.vmdk'))
  change(directory)
  await runOk(['tar', '--format=ustar', '-cf', file, '-C', directory, 'vm.ovf', 'vm.mf', basename('disk1.vmdk')])
  rmSync(directory, { recursive: true })
  return file
}
