var __defProp = Object.defineProperty;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __esm = (fn, res) => function __init() {
  return fn && (res = (0, fn[__getOwnPropNames(fn)[0]])(fn = 0)), res;
};
var __export = (target2, all7) => {
  for (var name in all7)
    __defProp(target2, name, { get: all7[name], enumerable: true });
};

// formats/errors.json
var errors_default;
var init_errors = __esm({
  "formats/errors.json"() {
    errors_default = {
      USAGE: {
        reason: "Usage",
        exit: 2,
        means: "The command line or the call is wrong.",
        remedy: "See --help."
      },
      REFERENCE_INVALID: {
        reason: "Usage",
        exit: 2,
        means: "The image reference does not follow the grammar.",
        remedy: "Write TYPE:REFERENCE, for example docker:debian:12 or id:4f6a\u2026."
      },
      INTERNAL: {
        reason: "Failed",
        exit: 70,
        means: "A defect of this program.",
        remedy: "Please report it with the whole message."
      },
      CANCELLED: {
        reason: "Interrupted",
        exit: 130,
        means: "The caller cancelled the operation.",
        remedy: "Run it again: finished parts are kept."
      },
      NOT_SETUID: {
        reason: "Configuration",
        exit: 1,
        means: "The helper runs without root's rights.",
        remedy: "Install it owned by root with mode 4755, on a file system mounted without nosuid."
      },
      SETUID_NEEDED: {
        reason: "Unsupported",
        exit: 1,
        means: "What was asked for, or what the site asks for, needs the setuid helper, which is not there.",
        remedy: "Leave it out, or ask the administrator to install shifter setuid root."
      },
      USERNS_UNAVAILABLE: {
        reason: "Configuration",
        exit: 1,
        means: "Without the setuid helper a user namespace is needed, and none can be made here.",
        remedy: "Ask the administrator to allow user namespaces, or to install shifter setuid root."
      },
      FUSE_UNAVAILABLE: {
        reason: "Configuration",
        exit: 1,
        means: "Without the setuid helper squashfuse and /dev/fuse are needed.",
        remedy: "Have squashfuse installed and /dev/fuse opened to everybody (mode 0666), or ask the administrator to install shifter setuid root."
      },
      CALLER_IS_ROOT: {
        reason: "Denied",
        exit: 1,
        means: "Root, or a member of group root by primary group, called the helper.",
        remedy: "Run it as an ordinary user."
      },
      CALLER_UNKNOWN: {
        reason: "Denied",
        exit: 1,
        means: "The calling user has no usable account entry.",
        remedy: "Ask the administrator to check the account's name, home directory and shell."
      },
      UDIROOT_CONF_MISSING: {
        reason: "Configuration",
        exit: 1,
        means: "udiRoot.conf can't be opened.",
        remedy: "Ask the administrator to install it."
      },
      UDIROOT_CONF_UNSAFE: {
        reason: "Configuration",
        exit: 1,
        means: "udiRoot.conf, runtime.conf, what they name, or a directory above, could be changed by someone other than root.",
        remedy: "Make what is named, and every directory above it, owned by root and writable by root alone."
      },
      UDIROOT_CONF_INVALID: {
        reason: "Configuration",
        exit: 1,
        means: "udiRoot.conf or runtime.conf has a mistake.",
        remedy: "Mend the line named; shifter-check config shows how the file is understood."
      },
      IMAGE_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "There is no such image, or it is not for this user.",
        remedy: "Check the name, or have it pulled. Images that you pulled for yourself are run by shifter-userns alone, not by the setuid program."
      },
      IMAGE_EXPIRED: {
        reason: "NotFound",
        exit: 1,
        means: "The name points to an image whose file is gone.",
        remedy: "Have it pulled again."
      },
      IMAGE_UNREADABLE: {
        reason: "Denied",
        exit: 1,
        means: "Without the setuid helper an image is opened by the caller, who can't read this one.",
        remedy: "Run a public image of the site by its id (where publicMode is 0644), or pull it for yourself."
      },
      IMAGE_UNSAFE: {
        reason: "Denied",
        exit: 1,
        means: "The image file, or a directory above it, is not protected by the image owner alone.",
        remedy: "Ask the administrator to check the owner and mode of the image path, and imageOwner in runtime.conf."
      },
      IMAGE_CORRUPT: {
        reason: "Invalid",
        exit: 1,
        means: "The image file is not what its record says, or no squashfs.",
        remedy: "Pull it again; if it comes back, ask the administrator to check the file system."
      },
      IMAGE_LAYOUT: {
        reason: "Invalid",
        exit: 1,
        means: "The image has something else where a directory is needed.",
        remedy: "Rebuild the image with a directory at the place named."
      },
      RECORD_INVALID: {
        reason: "Invalid",
        exit: 1,
        means: "A record, name or .meta file can't be understood.",
        remedy: "Pull the image again."
      },
      RECORD_NEWER: {
        reason: "Invalid",
        exit: 1,
        means: "A record or name was written by a newer version.",
        remedy: "Update the programs on this node."
      },
      LOCAL_NOT_ALLOWED: {
        reason: "Denied",
        exit: 1,
        means: "This site does not allow local: images.",
        remedy: "Use an image, or ask the administrator about allowLocalChroot in udiRoot.conf."
      },
      IMAGE_TYPE_NOT_RUNNABLE: {
        reason: "Unsupported",
        exit: 1,
        means: "The reference is a relative path, which names no published image.",
        remedy: "Write the absolute path that it was pulled by, or run it by its id: id:ID."
      },
      NO_ENTRYPOINT: {
        reason: "Usage",
        exit: 1,
        means: "The image defines no entry point.",
        remedy: "Name a command, or give --entrypoint=COMMAND."
      },
      NO_WORKDIR: {
        reason: "Usage",
        exit: 1,
        means: "The image defines no working directory.",
        remedy: "Give --workdir=DIR."
      },
      WORKDIR_UNUSABLE: {
        reason: "Usage",
        exit: 1,
        means: "The working directory asked for can't be entered inside the image.",
        remedy: "Name a directory that exists in the image and that you may enter."
      },
      ENVIRONMENT_INVALID: {
        reason: "Usage",
        exit: 1,
        means: "An environment setting is malformed.",
        remedy: "Write NAME=VALUE, both non-empty."
      },
      ENV_FILE_UNREADABLE: {
        reason: "Usage",
        exit: 1,
        means: "A file of --env-file can't be read.",
        remedy: "Name a file as it is inside: in the image, or below a directory that is shown there."
      },
      OPTION_UNAVAILABLE: {
        reason: "Unsupported",
        exit: 1,
        means: "This version of the helper does not offer the option.",
        remedy: "Leave the option out."
      },
      KERNEL_UNSUPPORTED: {
        reason: "Unsupported",
        exit: 1,
        means: "The kernel lacks something the helper needs.",
        remedy: "Linux 5.14 or later with squashfs, overlay and loop devices is needed."
      },
      MOUNT_FAILED: {
        reason: "Failed",
        exit: 1,
        means: "The root could not be built.",
        remedy: "Ask the administrator; the message names the operation that failed."
      },
      SITE_FS_FAILED: {
        reason: "Configuration",
        exit: 1,
        means: "A site file system of udiRoot.conf could not be mounted.",
        remedy: "Ask the administrator to check siteFs in udiRoot.conf."
      },
      VOLUME_INVALID: {
        reason: "Usage",
        exit: 1,
        means: "A volume map is malformed, or names a target that users may not cover.",
        remedy: "Write FROM:TO[:ro][;...], both absolute paths inside; TO is not /, /opt, or at, above or below /etc, /proc, /sys, /dev, /var (but /var/tmp), /opt/udiImage or what the site mounts."
      },
      VOLUME_FAILED: {
        reason: "Usage",
        exit: 1,
        means: "A volume could not be mounted.",
        remedy: "FROM must exist inside and be yours to reach; TO must be of the same kind, or lie where it can be made."
      },
      CACHE_REFUSED: {
        reason: "Unsupported",
        exit: 1,
        means: "A per-node cache is not offered here, or not in that size.",
        remedy: "Ask for another size, or ask the administrator about the perNodeCache keys of udiRoot.conf."
      },
      MODULE_REFUSED: {
        reason: "Usage",
        exit: 1,
        means: "A module that was asked for can't be loaded.",
        remedy: "Give --module with names the site offers, or --module=none."
      },
      MODULE_FAILED: {
        reason: "Configuration",
        exit: 1,
        means: "Something of a module could not be shown inside.",
        remedy: "Leave the module out, or ask the administrator to check it in udiRoot.conf."
      },
      HOOK_FAILED: {
        reason: "Configuration",
        exit: 1,
        means: "A program of the site failed, or is not safe to run.",
        remedy: "Ask the administrator; the message names the setting."
      },
      NOT_ROOT: {
        reason: "Denied",
        exit: 1,
        means: "A program for root alone was called by someone else.",
        remedy: "Call it as root, as a workload manager does before and after a job."
      },
      PREPARE_FAILED: {
        reason: "Failed",
        exit: 1,
        means: "A prepared root could not be made, or not be kept.",
        remedy: "Ask the administrator; programs start without it, only slower."
      },
      DROP_FAILED: {
        reason: "Failed",
        exit: 1,
        means: "Privileges could not be given up completely.",
        remedy: "Ask the administrator; nothing was run."
      },
      RESOURCE: {
        reason: "Failed",
        exit: 1,
        means: "The system refused memory, a process, a file descriptor or a loop device.",
        remedy: "Try again; if it comes back, ask the administrator."
      },
      EXEC_FAILED: {
        reason: "Failed",
        exit: 127,
        means: "The program could not be started inside the image.",
        remedy: "Check that it exists in the image and is executable."
      },
      PREPARE_UNAVAILABLE: {
        reason: "Unsupported",
        exit: 1,
        means: "Prepared roots are not offered by the installed native programs.",
        remedy: "Run the image without a preparation."
      },
      NATIVE_MISSING: {
        reason: "Configuration",
        exit: 1,
        means: "The native programs are not installed where they are looked for.",
        remedy: "Build and install them (npm run build:native), or name where they are with the option prefix."
      },
      NATIVE_FAILED: {
        reason: "Failed",
        exit: 1,
        means: "A native program failed without saying why.",
        remedy: "Run it by hand to see its message."
      },
      OUTPUT_TOO_LARGE: {
        reason: "Failed",
        exit: 1,
        means: "A program printed more than is captured.",
        remedy: 'Let it write to a file, or run it with stdio "inherit".'
      },
      CONFIG_INVALID: {
        reason: "Configuration",
        exit: 2,
        means: "The gateway configuration has a mistake.",
        remedy: "Mend the field named."
      },
      SYSTEM_UNKNOWN: {
        reason: "Usage",
        exit: 2,
        means: "No such system is configured.",
        remedy: "Use one of the systems named."
      },
      SOURCE_UNSUPPORTED: {
        reason: "Unsupported",
        exit: 2,
        means: "No source for images of this type is available here.",
        remedy: "Use one of the types named."
      },
      ACCESS_DENIED: {
        reason: "Denied",
        exit: 3,
        means: "The image, or the operation, is not for this user.",
        remedy: "Ask the image's owner or the administrator."
      },
      UNAUTHENTICATED: {
        reason: "Denied",
        exit: 3,
        means: "The gateway does not know who asks.",
        remedy: "Where there is munge, see that it runs and that both clocks agree; else give a token that is valid."
      },
      GATEWAY_UNREACHABLE: {
        reason: "Unavailable",
        exit: 4,
        means: "No gateway of those configured answers.",
        remedy: "Check its address, or ask the administrator; images that are there already can be run."
      },
      PULL_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "There is no such pull, or it is not yours.",
        remedy: "Pull again: what is there already is not fetched twice."
      },
      QUEUE_FULL: {
        reason: "Unavailable",
        exit: 4,
        means: "Too many of your pulls wait already.",
        remedy: "Wait for some of them, or cancel them."
      },
      CREDENTIALS_GONE: {
        reason: "Unavailable",
        exit: 4,
        means: "The gateway process that was given your password ended, and passwords are kept nowhere.",
        remedy: "Pull again."
      },
      REGISTRY_UNAUTHORIZED: {
        reason: "Denied",
        exit: 3,
        means: "The registry refused the credentials, or asks for some.",
        remedy: "Give credentials for this registry, or log in with shifterimg login."
      },
      REGISTRY_UNREACHABLE: {
        reason: "Unavailable",
        exit: 4,
        means: "The registry can't be reached.",
        remedy: "Check its name, port and protocol, and the network."
      },
      REGISTRY_TIMEOUT: {
        reason: "Unavailable",
        exit: 4,
        means: "The registry stopped answering.",
        remedy: "Run it again: finished layers are kept."
      },
      REGISTRY_RATE_LIMITED: {
        reason: "Unavailable",
        exit: 4,
        means: "The registry limits how often it is asked.",
        remedy: "Wait for the time named, or give credentials."
      },
      REGISTRY_ERROR: {
        reason: "Unavailable",
        exit: 4,
        means: "The registry answered with an error.",
        remedy: "Try again later; if it comes back, ask who runs the registry."
      },
      REDIRECT_REFUSED: {
        reason: "Unavailable",
        exit: 4,
        means: "The registry sent the client to a place it does not go.",
        remedy: "Ask who runs the registry."
      },
      MANIFEST_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "The registry or layout has no such image.",
        remedy: "Check the name and the tag."
      },
      PLATFORM_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "The image is not offered for the platform asked for.",
        remedy: "Choose one of the platforms named with --platform."
      },
      MANIFEST_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "The manifest or index is not valid.",
        remedy: "Ask who made the image."
      },
      MANIFEST_UNSUPPORTED: {
        reason: "Unsupported",
        exit: 5,
        means: "The manifest is of a kind that is not supported.",
        remedy: "Push the image again with a current tool (OCI or Docker schema 2)."
      },
      IMAGE_CONFIG_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "The image configuration is not valid.",
        remedy: "Ask who made the image."
      },
      DIGEST_MISMATCH: {
        reason: "Invalid",
        exit: 5,
        means: "Received bytes are not what their digest says.",
        remedy: "Run it again; if it comes back, the registry or a proxy alters data."
      },
      LAYER_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "A layer holds an entry that can't be right.",
        remedy: "Ask who made the image; the message names the layer and the entry."
      },
      LIMIT_EXCEEDED: {
        reason: "Invalid",
        exit: 5,
        means: "The image exceeds a configured limit.",
        remedy: "Ask the administrator to raise the limit named, or use a smaller image."
      },
      LAYOUT_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "The OCI layout or archive is not valid.",
        remedy: "Check that it is whole, and that it is what its type says."
      },
      IMPORT_NEEDED: {
        reason: "NotFound",
        exit: 1,
        means: "The image has the name of an imported one, is not published, and there is nowhere to pull it from.",
        remedy: "Import it: shifterimg import REFERENCE FILE."
      },
      FILE_UNAVAILABLE: {
        reason: "NotFound",
        exit: 1,
        means: "The file named for an import is not there for this user: it does not exist, is no regular file, is another's, or lies below no directory that the site imports from.",
        remedy: "Name a regular file of your own, by its absolute path without links, below a directory that the site imports from; or upload it."
      },
      FILE_CHANGED: {
        reason: "Interrupted",
        exit: 5,
        means: "The file was changed while it was read.",
        remedy: "Try again when nobody writes to it."
      },
      FILE_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "The file is no image that can be imported, or holds something that can't be right.",
        remedy: "Give a squashfs, or a root file system as tar, tar.gz or tar.zst."
      },
      TREE_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "The site's list of CHOS trees has no tree of the name.",
        remedy: "Look into /etc/chos, or ask the administrator."
      },
      TREE_UNSAFE: {
        reason: "Denied",
        exit: 3,
        means: "A list of CHOS trees or a tree can be changed by others, or is not for everyone.",
        remedy: "Ask the administrator: what is named belongs to root, nobody else can write it, and everyone may read it."
      },
      TREE_UNREADABLE: {
        reason: "Failed",
        exit: 6,
        means: "The account that converts can't read a part of a CHOS tree.",
        remedy: `Give it the right, or let the site's configuration say "unreadable": "skip".`
      },
      TREE_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "A directory or an archive holds no system.",
        remedy: "Give the root directory of a system, with its /bin/sh."
      },
      UPLOAD_NOT_FOUND: {
        reason: "NotFound",
        exit: 1,
        means: "There is no such upload for this user: it never was, has ended or has expired.",
        remedy: "Begin a new upload."
      },
      UPLOAD_CONFLICT: {
        reason: "Invalid",
        exit: 5,
        means: "What was sent does not fit what is here of an upload.",
        remedy: "Ask for the upload's state, and go on from the offset that it tells."
      },
      URL_REFUSED: {
        reason: "Denied",
        exit: 3,
        means: "The site fetches nothing from this URL.",
        remedy: "Fetch it yourself and upload it, or ask the administrator."
      },
      URL_FAILED: {
        reason: "Unavailable",
        exit: 4,
        means: "What a URL names could not be fetched.",
        remedy: "Check the URL, and try again later."
      },
      TOOL_MISSING: {
        reason: "Configuration",
        exit: 6,
        means: "A program the conversion needs is not installed.",
        remedy: "Install the package named."
      },
      TOOL_UNSUITABLE: {
        reason: "Configuration",
        exit: 6,
        means: "A program the conversion needs is of a version that is known to be wrong or unable.",
        remedy: "Install the version named, or a later one."
      },
      TOOL_FAILED: {
        reason: "Failed",
        exit: 6,
        means: "A program the conversion runs has failed.",
        remedy: "The message holds what it said."
      },
      IMAGE_VERIFY_FAILED: {
        reason: "Invalid",
        exit: 6,
        means: "The packed image is not what was meant to be written.",
        remedy: "Run it again; if it comes back, check disk and memory of this machine."
      },
      IMAGE_PATH_UNUSABLE: {
        reason: "Configuration",
        exit: 6,
        means: "The image path can't be used.",
        remedy: "Create it, owned by the account that pulls and writable by it alone."
      },
      SSH_UNREACHABLE: {
        reason: "Unavailable",
        exit: 6,
        means: "No host of a system answers by ssh.",
        remedy: "Check the hosts named and the way to them, then run it again."
      },
      SSH_HOST_KEY_REFUSED: {
        reason: "Denied",
        exit: 3,
        means: "A host's key is not one that the site knows of it.",
        remedy: "Ask the host's administrator for its key; where it is new, put it into the file of known hosts."
      },
      SSH_UNAUTHORIZED: {
        reason: "Denied",
        exit: 3,
        means: "A host refuses the account or key of the gateway.",
        remedy: `Check "username" and "keyFile" or "agent" of the system, and the account's authorized_keys.`
      },
      SSH_CUT: {
        reason: "Unavailable",
        exit: 6,
        means: "A connection by ssh was lost again and again.",
        remedy: "Check the network to the host named, then run it again."
      },
      EXPORT_FAILED: {
        reason: "Storage",
        exit: 6,
        means: "An image could not be written to a file or layout.",
        remedy: "Check space and permissions there, then run it again."
      },
      PUBLISH_FAILED: {
        reason: "Storage",
        exit: 6,
        means: "The image could not be put on the image path.",
        remedy: "Check space and permissions there, then run it again."
      },
      IMAGE_PATH_FAILED: {
        reason: "Storage",
        exit: 6,
        means: "What is on the image path could not be read or removed.",
        remedy: "Check its file system, then ask again."
      },
      STORAGE_FULL: {
        reason: "Storage",
        exit: 6,
        means: "A file system is full, or a quota is used up.",
        remedy: "Make room at the place named, then run it again."
      },
      STATE_UNUSABLE: {
        reason: "Configuration",
        exit: 6,
        means: "The state directory can't be used.",
        remedy: "Make it a local directory owned by the account that pulls, with mode 0700."
      },
      CATALOG_FAILED: {
        reason: "Storage",
        exit: 6,
        means: "The catalogue can't be read or written.",
        remedy: "Check the state directory."
      },
      LEASE_LOST: {
        reason: "Interrupted",
        exit: 7,
        means: "Another process took over this pull.",
        remedy: "Run it again to wait for its result."
      },
      DISK_INVALID: {
        reason: "Invalid",
        exit: 5,
        means: "The disk's partition table, logical volumes or a file system is damaged, cut off or none.",
        remedy: "Copy the disk again while the virtual machine is off, or check its file systems there."
      },
      DISK_UNSUPPORTED: {
        reason: "Unsupported",
        exit: 5,
        means: "The disk holds its system in a way that can't be read: encrypted, over several disks, or in an unknown file system.",
        remedy: "Copy the system onto a plain partition with ext4, xfs or btrfs, and give that disk."
      },
      DISK_NO_SYSTEM: {
        reason: "NotFound",
        exit: 5,
        means: "No file system of the disk holds an operating system: an os-release file with /bin or /usr/bin.",
        remedy: "Give the disk that the virtual machine starts from."
      },
      DISK_AMBIGUOUS: {
        reason: "Invalid",
        exit: 5,
        means: "More than one file system of the disk holds an operating system.",
        remedy: "Choose one of those named with --partition."
      },
      READER_FAILED: {
        reason: "Failed",
        exit: 5,
        means: "The process that reads a disk's file systems ended before it was done: what it read may be damaged.",
        remedy: "Check the disk's file systems in the virtual machine; the message says how the reader ended."
      },
      JOB_INVALID: {
        reason: "Usage",
        exit: 2,
        means: "What is said of a job is none of a workload manager's.",
        remedy: "Run it inside a job, with the variables that the workload manager set."
      },
      WLM_MISSING: {
        reason: "Configuration",
        exit: 6,
        means: "The workload manager's programs are not there, or do not answer.",
        remedy: "Install them on this machine, and see that they reach the workload manager."
      },
      WLM_REFUSED: {
        reason: "Denied",
        exit: 6,
        means: "The workload manager does not take a job.",
        remedy: "The message holds what it said."
      },
      WLM_FAILED: {
        reason: "Failed",
        exit: 6,
        means: "The workload manager lost a job, or does not tell of it.",
        remedy: "Look for the job in its lists and logs, then run it again."
      }
    };
  }
});

// src/core/Errors.ts
import * as Data from "effect/Data";
var errorTable, errorCodes, isErrorCode, ImageError, PackerError, CatalogError, TransportError, GatewayError, UdiError, WlmError, FormatError, errorFields, tags, isShifterError, carried, printable, storageCode, unnamed, systemCode, messageOf;
var init_Errors = __esm({
  "src/core/Errors.ts"() {
    "use strict";
    init_errors();
    errorTable = errors_default;
    errorCodes = Object.keys(errors_default);
    isErrorCode = (text5) => Object.hasOwn(errors_default, text5);
    ImageError = class extends Data.TaggedError("ImageError") {
    };
    PackerError = class extends Data.TaggedError("PackerError") {
    };
    CatalogError = class extends Data.TaggedError("CatalogError") {
    };
    TransportError = class extends Data.TaggedError("TransportError") {
    };
    GatewayError = class extends Data.TaggedError("GatewayError") {
    };
    UdiError = class extends Data.TaggedError("UdiError") {
    };
    WlmError = class extends Data.TaggedError("WlmError") {
    };
    FormatError = class extends Data.TaggedError("FormatError") {
    };
    errorFields = (code, what, options2) => {
      const entry = errorTable[code];
      const remedy = options2?.remedy ?? entry.remedy;
      const said4 = printable(what);
      return {
        code,
        reason: entry.reason,
        what: said4,
        remedy,
        message: `${said4}. ${remedy}`,
        ...options2?.retryAfter === void 0 ? {} : { retryAfter: options2.retryAfter },
        ...options2?.cause === void 0 ? {} : { cause: options2.cause }
      };
    };
    tags = [
      "ImageError",
      "PackerError",
      "CatalogError",
      "TransportError",
      "GatewayError",
      "UdiError",
      "WlmError",
      "FormatError"
    ];
    isShifterError = (value9) => typeof value9 === "object" && value9 !== null && "_tag" in value9 && tags.includes(value9._tag) && "code" in value9 && typeof value9.code === "string" && isErrorCode(value9.code);
    carried = (error) => ({
      code: error.code,
      reason: error.reason,
      what: error.what,
      remedy: error.remedy,
      message: error.message,
      ...error.retryAfter === void 0 ? {} : { retryAfter: error.retryAfter },
      cause: error
    });
    printable = (text5) => {
      const safe = text5.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (c) => {
        const n = c.charCodeAt(0);
        return n < 256 ? `\\x${n.toString(16).padStart(2, "0")}` : `\\u${n.toString(16)}`;
      });
      return safe.length > 2e3 ? `${safe.slice(0, 1200)} \u2026 ${safe.slice(-700)}` : safe;
    };
    storageCode = (error, otherwise) => {
      const code = systemCode(error);
      return code === "ENOSPC" || code === "EDQUOT" ? "STORAGE_FULL" : otherwise;
    };
    unnamed = {
      "Unknown system error -116": ["ESTALE", "stale file handle"],
      "Unknown system error -122": ["EDQUOT", "disk quota exceeded"]
    };
    systemCode = (error) => typeof error === "object" && error !== null && "code" in error && typeof error.code === "string" ? unnamed[error.code]?.[0] ?? error.code : void 0;
    messageOf = (error) => (error instanceof Error ? error.message : String(error)).replace(/(Unknown system error -\d+): \1/, (all7, name) => unnamed[name]?.join(": ") ?? all7);
  }
});

// formats/limits.json
var limits_default;
var init_limits = __esm({
  "formats/limits.json"() {
    limits_default = {
      imageReferenceBytes: 1024,
      recordBytes: 4194304,
      metaBytes: 4194304,
      nameBytes: 4096,
      fieldCount: 16384,
      envBytes: 131072,
      aclIds: 1e3,
      configBytes: 1048576,
      configLineBytes: 65536,
      hostsFileBytes: 16777216,
      groupCount: 65536,
      volumeCount: 1e3,
      volumeDepth: 128,
      accountReplyBytes: 4194304,
      entryBytes: 8388608,
      preparedRoots: 16,
      filterPolicy: 2
    };
  }
});

// src/core/Limits.ts
var formatLimits, filterPolicy, defaultPullLimits;
var init_Limits = __esm({
  "src/core/Limits.ts"() {
    "use strict";
    init_limits();
    formatLimits = limits_default;
    filterPolicy = limits_default.filterPolicy;
    defaultPullLimits = {
      layers: 1e3,
      manifestBytes: 4 * 1024 * 1024,
      configBytes: 8 * 1024 * 1024,
      blobBytes: 512 * 1024 ** 3,
      inflatedBytes: 2 * 1024 ** 4,
      // gzip makes zeros at most 1,032 times smaller.
      ratio: 1100,
      entries: 2e7,
      directoryEntries: 2e5,
      depth: 256,
      nameBytes: 4095
    };
  }
});

// src/core/FieldFile.ts
import * as Either from "effect/Either";
var lone, textOf, bytesOf, encode, decode;
var init_FieldFile = __esm({
  "src/core/FieldFile.ts"() {
    "use strict";
    init_Errors();
    init_Limits();
    lone = /([\udc80-\udcff])/u;
    textOf = (bytes2) => {
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      const decoded = (from, to) => {
        try {
          return decoder.decode(bytes2.subarray(from, to));
        } catch {
          return void 0;
        }
      };
      const whole2 = decoded(0, bytes2.length);
      if (whole2 !== void 0) return whole2;
      let text5 = "";
      for (let at = 0; at < bytes2.length; ) {
        const byte = bytes2[at] ?? 0;
        const size = byte < 128 ? 1 : byte >> 5 === 6 ? 2 : byte >> 4 === 14 ? 3 : byte >> 3 === 30 ? 4 : 0;
        const sequence = size === 0 || at + size > bytes2.length ? void 0 : decoded(at, at + size);
        text5 += sequence ?? String.fromCharCode(56320 + byte);
        at += sequence === void 0 ? 1 : size;
      }
      return text5;
    };
    bytesOf = (text5) => lone.test(text5) ? Buffer.concat(text5.split(lone).map((part) => lone.test(part) ? Buffer.from([part.charCodeAt(0) - 56320]) : Buffer.from(part))) : Buffer.from(text5);
    encode = (kind3, fields) => {
      const order2 = Object.keys(kind3.keys);
      const sorted = [...fields].sort((a, b) => order2.indexOf(a[0]) - order2.indexOf(b[0]));
      const parts = sorted.flatMap(([key, value9]) => {
        const bytes2 = bytesOf(value9);
        return [Buffer.from(`${key} ${bytes2.length}:`), bytes2, Buffer.from("\n")];
      });
      return Buffer.concat([Buffer.from(`${kind3.magic} ${kind3.version}
`), ...parts, Buffer.from("end\n")]);
    };
    decode = (kind3, bytes2) => {
      const invalid6 = (why) => Either.left(new FormatError(errorFields("RECORD_INVALID", `This ${kind3.magic} file is not valid: ${why}`)));
      if (bytes2.length > kind3.limit) return invalid6(`it is larger than ${kind3.limit} bytes`);
      const buffer = Buffer.from(bytes2.buffer, bytes2.byteOffset, bytes2.byteLength);
      const lineEnd = buffer.subarray(0, 80).indexOf(10);
      const first = buffer.subarray(0, Math.max(lineEnd, 0)).toString("latin1");
      const header = /^([a-z][a-z-]*) ([1-9][0-9]{0,8})$/.exec(first);
      if (header === null || header[1] !== kind3.magic) return invalid6(`it does not start with "${kind3.magic}" and a version`);
      if (Number(header[2]) > kind3.version) {
        return Either.left(
          new FormatError(errorFields("RECORD_NEWER", `This ${kind3.magic} file has version ${header[2]}; up to ${kind3.version} is understood`))
        );
      }
      const found = /* @__PURE__ */ new Map();
      let at = lineEnd + 1;
      let count3 = 0;
      for (; ; ) {
        if (buffer.length - at === 4 && buffer.toString("latin1", at) === "end\n") break;
        if (++count3 > formatLimits.fieldCount) return invalid6(`it has more than ${formatLimits.fieldCount} fields`);
        const colon = buffer.subarray(at, at + 80).indexOf(58);
        const head = colon < 0 ? null : /^([a-z][a-z0-9-]*) (0|[1-9][0-9]{0,8})$/.exec(buffer.toString("latin1", at, at + colon));
        if (head === null) return invalid6(`a field or "end" was expected at byte ${at}`);
        const key = head[1] ?? "";
        const start2 = at + colon + 1;
        const end = start2 + Number(head[2]);
        if (end >= buffer.length || buffer[end] !== 10) return invalid6(`the length of "${key}" is wrong`);
        const rule = Object.hasOwn(kind3.keys, key) ? kind3.keys[key] : void 0;
        if (rule === void 0) return invalid6(`the key "${key}" is not known`);
        const values = found.get(key) ?? [];
        if (rule !== "repeated" && values.length > 0) return invalid6(`the key "${key}" stands twice`);
        values.push(textOf(buffer.subarray(start2, end)));
        found.set(key, values);
        at = end + 1;
      }
      for (const [key, rule] of Object.entries(kind3.keys)) {
        if (rule === "required" && !found.has(key)) return invalid6(`the key "${key}" is missing`);
      }
      return Either.right(found);
    };
  }
});

// src/core/ImageRef.ts
import { createHash } from "node:crypto";
import * as path from "node:path";
import * as Either2 from "effect/Either";
var imageTypes, tagPattern, componentPattern, hostPattern, wordPattern, localPattern, controlPattern, urlPrefix, hubHosts, refuse, parse, absolute, dockerName, pathAndTag, nameHash, isCanonical, isImageId, canonicalOf, namedCanonical, isNamedDisk, cleanPath, fileOf, splitPath, joinPath, parseDocker, isPort;
var init_ImageRef = __esm({
  "src/core/ImageRef.ts"() {
    "use strict";
    init_Errors();
    init_FieldFile();
    init_Limits();
    imageTypes = [
      "docker",
      "id",
      "local",
      "custom",
      "oci",
      "oci-archive",
      "docker-archive",
      "docker-daemon",
      "vm",
      "chos"
    ];
    tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
    componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
    hostPattern = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/;
    wordPattern = /^[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}$/;
    localPattern = /^\/[A-Za-z0-9_:.+@/-]*$/;
    controlPattern = /[\u0000-\u001f\u007f]/;
    urlPrefix = /^(?:[a-z0-9]+:)?\/\/(?=.)/s;
    hubHosts = /* @__PURE__ */ new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);
    refuse = (input, why) => Either2.left(new FormatError(errorFields("REFERENCE_INVALID", `The image reference "${input}" is not valid: ${why}`)));
    parse = (input, defaultType = "docker") => {
      if (input.length === 0) return refuse(input, "it is empty");
      const tooLong = (text5) => bytesOf(text5).length > formatLimits.imageReferenceBytes;
      const refuseLong = () => refuse(`${input.slice(0, 60)}\u2026`, `it is longer than ${formatLimits.imageReferenceBytes} bytes`);
      if (tooLong(input)) return refuseLong();
      const colon = input.indexOf(":");
      const prefix = colon < 0 ? void 0 : imageTypes.find((type2) => type2 === input.slice(0, colon));
      const type = prefix ?? imageTypes.find((known2) => known2 === defaultType);
      if (type === void 0) return refuse(input, `it names no type and the default type "${defaultType}" is none of ${imageTypes.join(", ")}`);
      const reference = prefix === void 0 ? input : input.slice(colon + 1);
      const canonical = canonicalOf(type, reference);
      if (typeof canonical === "object" && canonical !== null) return refuse(input, canonical.why);
      return canonical !== null && tooLong(`${type}:${canonical}`) ? refuseLong() : Either2.right({ type, reference, canonical: canonical === null ? null : `${type}:${canonical}`, file: fileOf(type, reference) });
    };
    absolute = (ref, directory3) => {
      if (ref.canonical !== null || ref.file === void 0) return ref;
      const file = { path: path.resolve(directory3, ref.file.path), tag: ref.file.tag };
      const reference = ref.type === "vm" ? file.path : joinPath(file);
      return { type: ref.type, reference, canonical: `${ref.type}:${reference}`, file };
    };
    dockerName = (ref) => {
      const parsed = parseDocker(ref.reference);
      return "why" in parsed ? refuse(`${ref.type}:${ref.reference}`, parsed.why) : Either2.right(parsed);
    };
    pathAndTag = (ref) => ref.file ?? splitPath(ref.reference);
    nameHash = (canonical) => createHash("sha256").update(bytesOf(canonical)).digest("hex");
    isCanonical = (text5) => Either2.match(parse(text5, ""), { onLeft: () => false, onRight: (ref) => ref.canonical === text5 });
    isImageId = (text5) => wordPattern.test(text5);
    canonicalOf = (type, reference) => {
      switch (type) {
        case "docker":
        case "docker-daemon": {
          const name = parseDocker(reference);
          if ("why" in name) {
            const url = urlPrefix.exec(reference)?.[0];
            return url === void 0 ? name : { why: `write ${type}:${reference.slice(url.length)}, without ${url}` };
          }
          return `${name.host}/${name.repository}${name.digest === void 0 ? `:${name.tag ?? "latest"}` : `@${name.digest}`}`;
        }
        case "id":
          return wordPattern.test(reference) ? reference : { why: "an id is 1 to 128 letters, digits, '_', '.', '+' or '-', and starts with a letter or digit" };
        case "custom":
          return namedCanonical(reference) ?? { why: "a custom image is NAME[:TAG] of letters, digits, '_', '.', '+' and '-'" };
        case "local":
          if (!reference.startsWith("/")) return { why: "a local path is absolute" };
          if (!localPattern.test(reference)) return { why: "a local path holds letters, digits and _:.+@/- only" };
          return cleanPath(reference) ?? { why: "a local path has no '..'" };
        case "chos":
        case "vm":
        case "oci":
        case "oci-archive":
        case "docker-archive": {
          if (reference.length === 0) return { why: "nothing follows the type" };
          if (controlPattern.test(reference)) return { why: "control characters are not allowed" };
          if (type === "chos") return reference;
          if (isNamedDisk(type, reference)) {
            return namedCanonical(reference) ?? { why: "a disk that was imported is NAME[:TAG] of letters, digits, '_', '.', '+' and '-', and the path of one holds a '/'" };
          }
          const { path: file, tag } = fileOf(type, reference) ?? { path: reference, tag: void 0 };
          if (file.length === 0) return { why: "the path is empty" };
          const clean2 = file.startsWith("/") ? cleanPath(file) : void 0;
          return clean2 === void 0 ? null : type === "vm" ? clean2 : joinPath({ path: clean2, tag });
        }
      }
    };
    namedCanonical = (reference) => {
      const [name = "", tag = "latest", more] = reference.split(":");
      return more === void 0 && wordPattern.test(name) && wordPattern.test(tag) ? `${name}:${tag}` : void 0;
    };
    isNamedDisk = (type, reference) => type === "vm" && !reference.includes("/");
    cleanPath = (file) => {
      const components = file.split("/").filter((c) => c !== "" && c !== ".");
      return components.includes("..") ? void 0 : `/${components.join("/")}`;
    };
    fileOf = (type, reference) => {
      if (type === "vm") return isNamedDisk(type, reference) ? void 0 : { path: reference, tag: void 0 };
      return type === "oci" || type === "oci-archive" || type === "docker-archive" ? splitPath(reference) : void 0;
    };
    splitPath = (reference) => {
      const colon = reference.lastIndexOf(":");
      const tag = reference.slice(colon + 1);
      return colon >= 0 && tagPattern.test(tag) ? { path: reference.slice(0, colon), tag } : { path: reference, tag: void 0 };
    };
    joinPath = ({ path: file, tag }) => tag !== void 0 ? `${file}:${tag}` : splitPath(file).tag === void 0 ? file : `${file}/`;
    parseDocker = (reference) => {
      const bad = /[^A-Za-z0-9_:.+@/-]/u.exec(reference);
      if (bad !== null) return { why: `the character "${bad[0]}" is not allowed` };
      const at = reference.indexOf("@");
      const digest = at < 0 ? void 0 : reference.slice(at + 1);
      if (digest !== void 0 && !/^sha256:[0-9a-f]{64}$/.test(digest)) return { why: "a digest is sha256: and 64 lower-case hex digits" };
      const name = at < 0 ? reference : reference.slice(0, at);
      const slash = name.indexOf("/");
      const first = slash < 0 ? "" : name.slice(0, slash);
      const hasHost = slash > 0 && (/[.:]/.test(first) || first === "localhost");
      if (hasHost) {
        const [host3 = "", port, more] = first.split(":");
        if (!hostPattern.test(host3)) return { why: `"${host3}" is not a host name` };
        if (more !== void 0 || port !== void 0 && !isPort(port)) return { why: "a port is a number from 1 to 65535" };
      }
      const rest = hasHost ? name.slice(slash + 1) : name;
      const colon = rest.indexOf(":");
      const tag = colon < 0 ? void 0 : rest.slice(colon + 1);
      const path3 = colon < 0 ? rest : rest.slice(0, colon);
      if (path3.length === 0) return { why: "the name is empty" };
      const component = path3.split("/").find((c) => !componentPattern.test(c));
      if (component !== void 0) {
        return {
          why: /[A-Z]/.test(component) ? "a repository name is in lower case" : `"${component}" is not a repository component (lower-case letters and digits, joined by '.', '_', '__' or '-')`
        };
      }
      if (tag !== void 0 && !tagPattern.test(tag)) return { why: "a tag is 1 to 128 letters, digits, '_', '.' or '-', and does not start with '.' or '-'" };
      const host2 = hasHost ? first.toLowerCase() : "docker.io";
      const onHub = hubHosts.has(host2);
      const repository = onHub && !path3.includes("/") ? `library/${path3}` : path3;
      if (repository.length > 255) return { why: "the repository is longer than 255 bytes" };
      return {
        host: onHub ? "docker.io" : host2,
        repository,
        tag: tag ?? (digest === void 0 ? "latest" : void 0),
        digest
      };
    };
    isPort = (text5) => /^[1-9][0-9]{0,4}$/.test(text5) && Number(text5) <= 65535;
  }
});

// src/core/Digest.ts
import { createHash as createHash2 } from "node:crypto";
import * as Schema from "effect/Schema";
var Digest, isDigest, ofBytes, hex;
var init_Digest = __esm({
  "src/core/Digest.ts"() {
    "use strict";
    Digest = Schema.String.pipe(
      Schema.pattern(/^sha256:[0-9a-f]{64}$/, { message: () => "a digest must be sha256: and 64 lower-case hex digits" }),
      Schema.brand("Digest")
    );
    isDigest = Schema.is(Digest);
    ofBytes = (bytes2) => Digest.make(`sha256:${createHash2("sha256").update(bytes2).digest("hex")}`);
    hex = (digest) => digest.slice("sha256:".length);
  }
});

// src/core/Disk.ts
import { randomBytes } from "node:crypto";
import { mkdir, open, rm, statfs } from "node:fs/promises";
import * as nodePath from "node:path";
import * as Effect from "effect/Effect";
var ALMOST_NOTHING, isFull, writeALittle, makeDirectory;
var init_Disk = __esm({
  "src/core/Disk.ts"() {
    "use strict";
    init_Errors();
    ALMOST_NOTHING = 1024 * 1024;
    isFull = (directory3) => Effect.promise(async () => {
      try {
        const { bavail, bfree, bsize, ffree, files: files4 } = await statfs(directory3);
        if ((process.geteuid?.() === 0 ? bfree : bavail) * bsize < ALMOST_NOTHING || files4 > 0 && ffree === 0) return true;
        await writeALittle(nodePath.join(directory3, `.staging.room.${randomBytes(6).toString("hex")}`));
        return false;
      } catch (error) {
        return storageCode(error, "INTERNAL") === "STORAGE_FULL";
      }
    });
    writeALittle = async (file) => {
      const handle = await open(file, "wx", 384);
      try {
        await rm(file);
        await handle.writeFile(Buffer.alloc(ALMOST_NOTHING));
        await handle.sync();
      } finally {
        await handle.close();
      }
    };
    makeDirectory = async (path3, parents) => {
      const made3 = () => mkdir(path3, { mode: 448 }).catch((error) => {
        if (systemCode(error) !== "EEXIST") throw error;
      });
      await made3().catch(async (error) => {
        if (systemCode(error) !== "ENOENT" || !parents || nodePath.dirname(path3) === path3) throw error;
        await makeDirectory(nodePath.dirname(path3), parents);
        await made3();
      });
    };
  }
});

// src/core/Native.ts
import { existsSync } from "node:fs";
import * as nodePath2 from "node:path";
import { fileURLToPath } from "node:url";
var buildRemedy, program, built, ended, KILLED, packageRoot;
var init_Native = __esm({
  "src/core/Native.ts"() {
    "use strict";
    init_Errors();
    buildRemedy = 'Build it with "npx shifter-build-native", or install the native programs and name their "prefix" in the configuration.';
    program = (name, prefix) => {
      if (prefix !== void 0) return nodePath2.join(prefix, "bin", name);
      const file = built(name);
      return file !== void 0 && existsSync(file) ? file : name;
    };
    built = (name) => {
      const root = packageRoot();
      return root === void 0 ? void 0 : nodePath2.join(root, "build-native", name);
    };
    ended = (name, { status, stderr }) => {
      const [, code = "", what = ""] = /^shifter: ([A-Z_]+): (.*?)\.?$/m.exec(stderr) ?? [];
      if (isErrorCode(code)) return errorFields(code, `${name} could not go on: ${what}`);
      return status === KILLED ? errorFields("RESOURCE", `${name} was killed, as the system does where memory ends`) : errorFields("INTERNAL", `${name} ended with status ${status}: ${printable(stderr || "it said nothing")}`);
    };
    KILLED = 128 + 9;
    packageRoot = () => {
      let directory3 = nodePath2.dirname(fileURLToPath(import.meta.url));
      for (let levels = 0; levels < 5; levels++) {
        if (existsSync(nodePath2.join(directory3, "native/meson.build"))) return directory3;
        directory3 = nodePath2.dirname(directory3);
      }
      return void 0;
    };
  }
});

// src/core/Process.ts
import { spawn } from "node:child_process";
import { randomBytes as randomBytes2 } from "node:crypto";
import { open as open2, rm as rm2 } from "node:fs/promises";
import { constants } from "node:os";
import * as nodePath3 from "node:path";
import * as Effect2 from "effect/Effect";
import * as Stream from "effect/Stream";
var SpawnFault, environment, STDERR_KEPT, OUTPUT_LIMIT, start, scoped2, output, lines, pipe;
var init_Process = __esm({
  "src/core/Process.ts"() {
    "use strict";
    SpawnFault = class extends Error {
      constructor(program3, errno) {
        super(errno === "ENOENT" ? `the program "${program3}" is not installed` : `the program "${program3}" could not be started (${errno ?? "unknown error"})`);
        this.program = program3;
        this.errno = errno;
      }
      program;
      errno;
      name = "SpawnFault";
    };
    environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" };
    STDERR_KEPT = 4096;
    OUTPUT_LIMIT = 16 * 1024 * 1024;
    start = (program3, args, stdio, env = {}) => new Promise((resolve8, reject) => {
      const child = spawn(program3, [...args], {
        stdio: [stdio.stdin, stdio.stdout, "pipe", ...stdio.further ?? []],
        env: { ...environment, ...env }
      });
      child.stdout?.on("readable", () => void 0);
      let stderr = Buffer.alloc(0);
      child.stderr?.on("data", (chunk) => {
        stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_KEPT);
      });
      const exit2 = new Promise((done2) => {
        child.once(
          "close",
          (status, signal) => done2({
            status: status ?? 128 + (signal === null ? 0 : constants.signals[signal]),
            stderr: stderr.toString("utf8").trim()
          })
        );
      });
      child.once("error", (error) => reject(new SpawnFault(program3, "code" in error && typeof error.code === "string" ? error.code : void 0)));
      child.once("spawn", () => resolve8({ stdin: child.stdin, stdout: child.stdout, exit: exit2, kill: () => void child.kill("SIGKILL") }));
    });
    scoped2 = (...args) => Effect2.acquireRelease(
      Effect2.tryPromise({
        try: () => start(...args),
        catch: (error) => error instanceof SpawnFault ? error : new SpawnFault(args[0], void 0)
      }),
      (process2) => Effect2.promise(() => {
        process2.kill();
        return process2.exit;
      })
    );
    output = (program3, args, input, env) => Effect2.scoped(
      Effect2.gen(function* () {
        const process2 = yield* scoped2(program3, args, { stdin: input === void 0 ? "ignore" : "pipe", stdout: "pipe" }, env);
        process2.stdin?.on("error", () => void 0).end(input);
        const stdout = yield* Effect2.promise(async () => {
          const chunks = [];
          let size = 0;
          for await (const chunk of process2.stdout ?? []) {
            size += chunk.length;
            if (size > OUTPUT_LIMIT) process2.kill();
            else chunks.push(chunk);
          }
          return Buffer.concat(chunks).toString("utf8");
        });
        const exit2 = yield* Effect2.promise(() => process2.exit);
        return { ...exit2, stdout };
      })
    );
    lines = ({ stdout }) => stdout === null ? Stream.empty : Stream.asyncPush(
      (emit) => Effect2.acquireRelease(
        Effect2.sync(() => {
          const take3 = () => {
            for (let piece = stdout.read(); piece instanceof Buffer; piece = stdout.read()) emit.single(piece);
          };
          const end = () => emit.end();
          stdout.on("readable", take3).once("close", end);
          if (stdout.closed) end();
          else take3();
          return () => stdout.off("readable", take3).off("close", end);
        }),
        (leave) => Effect2.sync(leave)
      ),
      { bufferSize: "unbounded" }
    ).pipe(Stream.decodeText(), Stream.splitLines);
    pipe = (directory3) => Effect2.gen(function* () {
      const path3 = nodePath3.join(directory3, `pipe-${randomBytes2(8).toString("hex")}`);
      const made3 = yield* output("mkfifo", ["-m", "600", path3]);
      if (made3.status !== 0) return yield* Effect2.fail(new Error(made3.stderr));
      return yield* Effect2.acquireRelease(
        Effect2.tryPromise(async () => {
          const both = await open2(path3, "r+");
          try {
            return { reader: await open2(path3, "r"), writer: await open2(path3, "w") };
          } finally {
            await both.close();
            await rm2(path3);
          }
        }),
        ({ reader, writer }) => Effect2.promise(() => Promise.all([reader.close(), writer.close()]))
      );
    });
  }
});

// src/core/Filter.ts
import * as Effect3 from "effect/Effect";
var run, refusal;
var init_Filter = __esm({
  "src/core/Filter.ts"() {
    "use strict";
    init_Errors();
    init_Native();
    init_Process();
    run = ({ args, name, program: program3, purpose, stdin, stdout, worded: worded3 }) => Effect3.scoped(
      Effect3.gen(function* () {
        const process2 = yield* scoped2(program3, args, { stdin, stdout }).pipe(
          Effect3.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `${purpose}: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 })))
        );
        const exit2 = yield* Effect3.promise(() => process2.exit);
        return exit2.status === 0 ? exit2.stderr : yield* new ImageError(refusal(name, exit2, worded3));
      })
    );
    refusal = (name, exit2, worded3) => {
      const [code = "", ...what] = exit2.stderr.split(" ");
      return isErrorCode(code) ? worded3(code, what.join(" ")) : ended(name, exit2);
    };
  }
});

// src/core/http/Reach.ts
import * as Context from "effect/Context";
var Reach, AddressRefused, TooSlow, ProxyRefused;
var init_Reach = __esm({
  "src/core/http/Reach.ts"() {
    "use strict";
    Reach = class extends Context.Reference()("shifter-sdk/Reach", {
      defaultValue: () => ({ kinds: [], ca: void 0 })
    }) {
    };
    AddressRefused = class extends Error {
      constructor(host2, address2, kind3) {
        super(`${host2} is at the ${kind3} address ${address2}`);
        this.host = host2;
        this.address = address2;
        this.kind = kind3;
      }
      host;
      address;
      kind;
      name = "AddressRefused";
      code = "ADDRESS_REFUSED";
    };
    TooSlow = class extends Error {
      name = "TooSlow";
      code = "TOO_SLOW";
    };
    ProxyRefused = class extends Error {
      constructor(what, reason2) {
        super(what);
        this.reason = reason2;
      }
      reason;
      name = "ProxyRefused";
      code = "PROXY_REFUSED";
    };
  }
});

// src/core/http/Patience.ts
import * as Data2 from "effect/Data";
import * as Effect8 from "effect/Effect";
import * as Random from "effect/Random";
var Passing, isPassing, TRIES, FIRST_WAIT, LONGEST_WAIT, PROGRESS, patiently, retryAfter, passing, registry, transportFailure, causes;
var init_Patience = __esm({
  "src/core/http/Patience.ts"() {
    "use strict";
    init_Errors();
    init_Reach();
    Passing = class extends Data2.TaggedError("Passing") {
    };
    isPassing = (error) => error instanceof Passing;
    TRIES = 4;
    FIRST_WAIT = 300;
    LONGEST_WAIT = 6e4;
    PROGRESS = 1024 * 1024;
    patiently = (effect7, options2 = {}) => {
      const progress = options2.progress ?? (() => 0);
      const attempt = (left17, round, mark2) => Effect8.catchIf(
        effect7,
        isPassing,
        (failure) => Effect8.gen(function* () {
          const moved2 = progress() - mark2 >= PROGRESS;
          const tries = (moved2 ? TRIES : left17) - (failure.cost ?? 1);
          const waits = moved2 ? 0 : round;
          const after = failure.afterMillis ?? 0;
          if (tries <= 0 || after > LONGEST_WAIT) return yield* failure.error;
          const millis4 = Math.max(after, FIRST_WAIT * 2 ** waits * (yield* Random.nextRange(0.7, 1.3)));
          options2.waiting?.(failure, millis4);
          yield* Effect8.sleep(millis4);
          return yield* attempt(tries, waits + 1, moved2 ? progress() : mark2);
        })
      );
      return Effect8.suspend(() => attempt(TRIES, 0, progress()));
    };
    retryAfter = (header, now) => {
      const text5 = header?.trim() ?? "";
      if (/^\d{1,9}$/.test(text5)) return Number(text5) * 1e3;
      const date = /^[A-Z][a-z]{2}, /.test(text5) ? Date.parse(text5) : NaN;
      return Number.isNaN(date) ? void 0 : Math.max(0, date - now);
    };
    passing = /* @__PURE__ */ new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN", "HPE_INVALID_EOF_STATE", "ABORT_ERR"]);
    registry = {
      who: "The registry",
      refused: "REDIRECT_REFUSED",
      timeout: "REGISTRY_TIMEOUT",
      unreachable: "REGISTRY_UNREACHABLE",
      remedies: (host2) => ({
        refused: `If it should, name "${host2}" under registries in the gateway configuration.`,
        notSecure: 'If it speaks plain HTTP, set "plainHttp": true for it in the gateway configuration.',
        unknownAuthority: 'If its certificate is of a private authority, name that in "ca" for it in the gateway configuration.'
      })
    };
    transportFailure = (url, error, brokeOff, asked2 = registry) => {
      const found = causes(error);
      const inner = found.find((each) => systemCode(each) !== void 0) ?? found[found.length - 1];
      const code = systemCode(inner) ?? "";
      const said4 = inner instanceof Error ? printable(inner.message) : "";
      const cause = { host: url.host, code, reason: inner instanceof Error ? inner.name : "" };
      const remedies = asked2.remedies(url.host);
      if (code === "ADDRESS_REFUSED") {
        return new ImageError(errorFields(asked2.refused, `${asked2.who} leads to an address of this network: ${said4}`, { cause, remedy: remedies.refused }));
      }
      if (code === "TOO_SLOW") return new Passing({ error: new ImageError(errorFields(asked2.timeout, `${url.host} is too slow: ${said4}`, { cause })), cost: 2 });
      if (/TIMEDOUT|TIMEOUT/.test(code)) return new Passing({ error: new ImageError(errorFields(asked2.timeout, `${url.host} did not answer in time`, { cause })), cost: 2 });
      if (brokeOff !== void 0) return new Passing({ error: new ImageError(errorFields(asked2.unreachable, brokeOff, { cause })) });
      const secure = /SSL|TLS|CERT|WRONG_VERSION|UNABLE_TO|SELF_SIGNED/.test(code);
      const why = code === "ECONNREFUSED" ? "nothing listens there" : code === "ENOTFOUND" || code === "EAI_AGAIN" ? "its name is not known" : secure ? `no secure connection (${code})` : code === "PROXY_REFUSED" ? said4 : code === "" || code === "ECONNRESET" ? "the connection broke off" : code;
      const remedy = inner instanceof ProxyRefused ? { remedy: 'Check "proxy" in the gateway configuration, or HTTPS_PROXY and its like in the environment.' } : !secure ? {} : { remedy: /SSL|WRONG_VERSION/.test(code) ? remedies.notSecure : remedies.unknownAuthority };
      const failure = new ImageError(errorFields(asked2.unreachable, `${asked2.who} ${url.host} can't be reached: ${printable(why)}`, { cause, ...remedy }));
      return passing.has(inner instanceof ProxyRefused ? inner.reason ?? "" : code) ? new Passing({ error: failure }) : failure;
    };
    causes = (error) => {
      const found = [];
      for (let each = error; each !== void 0 && each !== null && found.length < 8; each = typeof each === "object" && "cause" in each ? each.cause : void 0) found.push(each);
      return found;
    };
  }
});

// src/core/ImageId.ts
import { createHash as createHash4 } from "node:crypto";
var profileText, privateTo, make2;
var init_ImageId = __esm({
  "src/core/ImageId.ts"() {
    "use strict";
    init_Limits();
    profileText = (profile) => `${profile.packer}; ${profile.compressor} ${profile.level}; block ${profile.blockSize}; policy ${filterPolicy}`;
    privateTo = (host2, repository) => `private ${host2}/${repository}`;
    make2 = (source, profile, variant) => createHash4("sha256").update(`shifter-image 1
${source}
${profileText(profile)}
${variant === void 0 ? "" : `${variant}
`}`).digest("hex");
  }
});

// src/core/FileLock.ts
import { randomBytes as randomBytes3 } from "node:crypto";
import { link, open as open5, readFile, rename, rm as rm3 } from "node:fs/promises";
import { setTimeout as setTimeout2 } from "node:timers/promises";
var STALE, LONGEST_WAIT2, acquire, made, read3, takeAway;
var init_FileLock = __esm({
  "src/core/FileLock.ts"() {
    "use strict";
    init_Errors();
    STALE = 1e4;
    LONGEST_WAIT2 = 6e4;
    acquire = async (file) => {
      const token = randomBytes3(16).toString("hex");
      const started = Date.now();
      let seen = { holder: "", since: started };
      for (; ; ) {
        if (await made(file, token)) break;
        const holder = await read3(file);
        if (holder === void 0) continue;
        if (holder !== seen.holder) seen = { holder, since: Date.now() };
        if (Date.now() - seen.since >= STALE) await takeAway(file, holder);
        else if (Date.now() - started >= LONGEST_WAIT2) throw new Error(`others hold ${file} for a minute`);
        else await setTimeout2(10 + Math.random() * 40);
      }
      const held = async () => await read3(file) === token;
      const release2 = async () => {
        if (await held()) await rm3(file, { force: true });
      };
      return { held, release: release2 };
    };
    made = async (file, token) => {
      const own4 = `${file}.${token}`;
      const handle = await open5(own4, "wx", 384);
      try {
        await handle.writeFile(token);
        await link(own4, file);
        return true;
      } catch (error) {
        if (systemCode(error) === "EEXIST") return false;
        throw error;
      } finally {
        await handle.close();
        await rm3(own4, { force: true });
      }
    };
    read3 = (file) => readFile(file, "utf8").catch((error) => {
      if (systemCode(error) === "ENOENT") return void 0;
      throw error;
    });
    takeAway = async (file, holder) => {
      const aside = `${file}.${randomBytes3(8).toString("hex")}`;
      try {
        await rename(file, aside);
        if (await read3(aside) !== holder) await link(aside, file);
      } catch (error) {
        if (systemCode(error) !== "ENOENT" && systemCode(error) !== "EEXIST") throw error;
      } finally {
        await rm3(aside, { force: true });
      }
    };
  }
});

// src/core/RootfsStream.ts
import * as Data3 from "effect/Data";
var OutputEnded, RestartNeeded;
var init_RootfsStream = __esm({
  "src/core/RootfsStream.ts"() {
    "use strict";
    OutputEnded = class extends Data3.TaggedError("OutputEnded") {
    };
    RestartNeeded = class extends Data3.TaggedError("RestartNeeded") {
    };
  }
});

// src/core/Platform.ts
import * as Either6 from "effect/Either";
var architectures, host, parse3, format, fitness;
var init_Platform = __esm({
  "src/core/Platform.ts"() {
    "use strict";
    init_Errors();
    architectures = {
      x64: ["amd64", void 0],
      arm64: ["arm64", void 0],
      arm: ["arm", "v7"],
      ia32: ["386", void 0],
      ppc64: ["ppc64le", void 0],
      s390x: ["s390x", void 0],
      riscv64: ["riscv64", void 0]
    };
    host = () => {
      const [architecture, variant] = architectures[process.arch] ?? [process.arch, void 0];
      return { os: "linux", architecture, variant };
    };
    parse3 = (text5) => {
      const match4 = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text5);
      return match4 === null || match4[1] === void 0 || match4[2] === void 0 ? Either6.left(new FormatError(errorFields("USAGE", `"${text5}" is not a platform`, { remedy: "Write os/arch or os/arch/variant, for example linux/arm64." }))) : Either6.right({ os: match4[1], architecture: match4[2], variant: match4[3] });
    };
    format = (platform) => `${platform.os}/${platform.architecture}${platform.variant === void 0 ? "" : `/${platform.variant}`}`;
    fitness = (wanted, offered2) => {
      if (wanted.os !== offered2.os || wanted.architecture !== offered2.architecture) return void 0;
      if (wanted.variant === offered2.variant) return 2;
      const v8 = (p) => p.architecture === "arm64" && (p.variant ?? "v8") === "v8";
      if (v8(wanted) && v8(offered2)) return 2;
      return wanted.variant === void 0 ? 1 : void 0;
    };
  }
});

// src/core/BlobStore.ts
import { createHash as createHash5 } from "node:crypto";
import { readdir, rename as rename3, rm as rm5, rmdir, stat } from "node:fs/promises";
import * as nodePath8 from "node:path";
var domainOf, nameOf2, partialOf, partialName, movePartials, put, list, remove;
var init_BlobStore = __esm({
  "src/core/BlobStore.ts"() {
    "use strict";
    init_Digest();
    init_Disk();
    init_Errors();
    domainOf = (host2, repository) => createHash5("sha256").update(`${host2}/${repository}`).digest("hex");
    nameOf2 = (domain, digest) => `${domain}/${hex(digest)}`;
    partialOf = (directory3, domain, digest) => {
      const file = nodePath8.join(directory3, `${domain}.${hex(digest)}.partial`);
      return { file, state: `${file}.json` };
    };
    partialName = /^([0-9a-f]{64})\.([0-9a-f]{64})\.partial(?:\.json)?$/;
    movePartials = async (from, to) => {
      const names2 = (await readdir(from).catch(() => [])).filter((name) => partialName.test(name)).sort();
      if (names2.length > 0) await makeDirectory(to, true);
      for (const name of names2) await rename3(nodePath8.join(from, name), nodePath8.join(to, name)).catch(() => void 0);
    };
    put = async (file, to) => {
      for (let tries = 1; ; tries++) {
        await makeDirectory(nodePath8.dirname(to), true);
        try {
          await rename3(file, to);
          return;
        } catch (error) {
          if (systemCode(error) !== "ENOENT" || tries >= 5) throw error;
        }
      }
    };
    list = async (store3) => {
      const found = /* @__PURE__ */ new Map();
      for (const directory3 of await readdir(store3, { withFileTypes: true }).catch(() => [])) {
        if (!directory3.isDirectory()) continue;
        for (const entry of await readdir(nodePath8.join(store3, directory3.name)).catch(() => [])) {
          const file = nodePath8.join(store3, directory3.name, entry);
          const facts = await stat(file).catch(() => void 0);
          if (facts === void 0) continue;
          const [, domain, digits] = partialName.exec(entry) ?? [];
          const name = domain === void 0 ? `${directory3.name}/${entry}` : `${domain}/${digits}`;
          const before = found.get(name);
          found.set(name, {
            name,
            files: [...before?.files ?? [], file],
            bytes: (before?.bytes ?? 0) + facts.size,
            used: Math.max(before?.used ?? 0, facts.mtimeMs)
          });
        }
      }
      return [...found.values()].sort((a, b) => a.used - b.used);
    };
    remove = async ({ files: files4 }) => {
      for (const file of files4) {
        await rm5(file, { force: true }).catch(() => void 0);
        await rmdir(nodePath8.dirname(file)).catch(() => void 0);
      }
    };
  }
});

// src/core/BlobFile.ts
import { createHash as createHash6 } from "node:crypto";
import { constants as constants3 } from "node:fs";
import { open as open8 } from "node:fs/promises";
var GATHERED, BlobFile, BlobWriter, writeAll;
var init_BlobFile = __esm({
  "src/core/BlobFile.ts"() {
    "use strict";
    GATHERED = 1024 * 1024;
    BlobFile = class _BlobFile {
      constructor(handle, found) {
        this.handle = handle;
        this.found = found;
      }
      handle;
      found;
      hash = createHash6("sha256");
      hashed = 0;
      following = Promise.resolve();
      /** Opens a file, with what is in it. */
      static async open(path3) {
        const handle = await open8(path3, constants3.O_RDWR | constants3.O_CREAT | constants3.O_NOFOLLOW, 384);
        return new _BlobFile(handle, (await handle.stat()).size);
      }
      /** A writer from an offset on. */
      writer(offset) {
        return new BlobWriter(this.handle, offset, (piece, at) => {
          if (at !== this.hashed) return;
          this.hash.update(piece);
          this.hashed += piece.length;
        });
      }
      /** Says that everything up to here is written: it is hashed by and by. */
      follow(end) {
        this.following = this.following.then(() => this.read(end));
        this.following.catch(() => void 0);
        return this.following;
      }
      /** Makes the file durable. The digest of its first bytes, in hex. */
      async finish(bytes2) {
        await this.follow(bytes2);
        await this.handle.truncate(bytes2);
        await this.handle.datasync();
        return this.hash.digest("hex");
      }
      /** Forgets everything. */
      async restart() {
        await this.following.catch(() => void 0);
        await this.handle.truncate(0);
        this.hash = createHash6("sha256");
        this.hashed = 0;
        this.following = Promise.resolve();
      }
      async close() {
        await this.following.catch(() => void 0);
        await this.handle.close();
      }
      async read(end) {
        const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(GATHERED, end - this.hashed)));
        while (this.hashed < end) {
          const { bytesRead } = await this.handle.read(buffer, 0, Math.min(buffer.length, end - this.hashed), this.hashed);
          if (bytesRead === 0) throw new Error(`it has ${this.hashed} bytes instead of ${end}`);
          this.hash.update(buffer.subarray(0, bytesRead));
          this.hashed += bytesRead;
        }
      }
    };
    BlobWriter = class {
      constructor(handle, at, passing2) {
        this.handle = handle;
        this.at = at;
        this.passing = passing2;
      }
      handle;
      at;
      passing;
      pieces = [];
      gathered = 0;
      writing = Promise.resolve();
      /** Takes a piece; waits while the file system is behind. */
      async write(piece) {
        this.passing(piece, this.at + this.gathered);
        this.pieces.push(piece);
        this.gathered += piece.length;
        if (this.gathered < GATHERED) return;
        await this.writing;
        this.send();
      }
      /** Waits until everything is written. */
      async flush() {
        await this.writing;
        this.send();
        await this.writing;
      }
      send() {
        const { at, pieces: pieces2 } = this;
        this.pieces = [];
        this.at += this.gathered;
        this.gathered = 0;
        if (pieces2.length === 0) return;
        this.writing = writeAll(this.handle, pieces2, at);
        this.writing.catch(() => void 0);
      }
    };
    writeAll = async (handle, pieces2, at) => {
      for (let left17 = pieces2; left17.length > 0; ) {
        let { bytesWritten } = await handle.writev(left17, at);
        at += bytesWritten;
        let done2 = 0;
        while (done2 < left17.length && bytesWritten >= (left17[done2]?.length ?? 0)) bytesWritten -= left17[done2++]?.length ?? 0;
        left17 = left17.slice(done2);
        if (bytesWritten > 0 && left17[0] !== void 0) left17 = [left17[0].subarray(bytesWritten), ...left17.slice(1)];
      }
    };
  }
});

// src/core/http/EntityTag.ts
var strong;
var init_EntityTag = __esm({
  "src/core/http/EntityTag.ts"() {
    "use strict";
    strong = (etag) => etag !== void 0 && /^"[\x21\x23-\x7e]*"$/.test(etag) ? etag : void 0;
  }
});

// src/core/http/Address.ts
import { BlockList, isIP } from "node:net";
var blocks, kinds, kindOf, embedded, wordsOf;
var init_Address = __esm({
  "src/core/http/Address.ts"() {
    "use strict";
    blocks = (...subnets) => {
      const list4 = new BlockList();
      for (const subnet of subnets) {
        const [address2 = "", prefix] = subnet.split("/");
        list4.addSubnet(address2, Number(prefix), isIP(address2) === 6 ? "ipv6" : "ipv4");
      }
      return list4;
    };
    kinds = [
      // "This host": Linux connects 0.0.0.0 and :: to itself.
      ["loopback", blocks("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")],
      ["link-local", blocks("169.254.0.0/16", "fe80::/10")],
      ["private", blocks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7", "fec0::/10")],
      ["reserved", blocks("192.0.0.0/24", "224.0.0.0/3", "ff00::/8")]
    ];
    kindOf = (address2) => {
      const plain = address2.split("%")[0] ?? "";
      const family = isIP(plain);
      if (family === 0) return "reserved";
      const inner = family === 6 ? embedded(plain) : void 0;
      if (inner !== void 0) return kindOf(inner);
      return kinds.find(([, list4]) => list4.check(plain, family === 6 ? "ipv6" : "ipv4"))?.[0] ?? "public";
    };
    embedded = (address2) => {
      const words = wordsOf(address2);
      const at = (i) => `${(words[i] ?? 0) >> 8}.${(words[i] ?? 0) & 255}.${(words[i + 1] ?? 0) >> 8}.${(words[i + 1] ?? 0) & 255}`;
      const zeros = (from, to) => words.slice(from, to).every((word2) => word2 === 0);
      if (zeros(0, 5) && words[5] === 65535) return at(6);
      if (zeros(0, 6) && words[6] !== 0) return at(6);
      if (words[0] === 100 && words[1] === 65435) return at(6);
      if (words[0] === 8194) return at(1);
      return void 0;
    };
    wordsOf = (address2) => {
      const [head = "", tail] = new URL(`http://[${address2}]/`).hostname.slice(1, -1).split("::");
      const parse8 = (text5) => text5 === "" ? [] : text5.split(":").map((word2) => parseInt(word2, 16));
      if (tail === void 0) return parse8(head);
      const [left17, right18] = [parse8(head), parse8(tail)];
      return [...left17, ...Array.from({ length: 8 - left17.length - right18.length }, () => 0), ...right18];
    };
  }
});

// src/core/http/Batches.ts
import * as Chunk from "effect/Chunk";
import * as Effect19 from "effect/Effect";
import * as Option2 from "effect/Option";
import * as Stream5 from "effect/Stream";
var WAITING, stream, Batches;
var init_Batches = __esm({
  "src/core/http/Batches.ts"() {
    "use strict";
    WAITING = 1024 * 1024;
    stream = (body2, broken) => Stream5.unwrapScoped(
      Effect19.map(
        Effect19.acquireRelease(
          Effect19.sync(() => new Batches(body2)),
          (batches) => Effect19.sync(() => batches.close())
        ),
        (batches) => Stream5.repeatEffectChunkOption(Effect19.mapError(batches.next, Option2.map(broken)))
      )
    );
    Batches = class {
      constructor(body2) {
        this.body = body2;
        body2.on("data", (piece) => {
          this.pieces.push(piece);
          this.waiting += piece.length;
          if (this.waiting >= WAITING) body2.pause();
          this.turn();
        }).once("end", () => this.ended(Option2.none())).once("error", (error) => this.ended(Option2.some(error))).once("close", () => this.ended(Option2.some(new Error("it was cut off"))));
        if (body2.destroyed) this.ended(Option2.some(body2.errored ?? new Error("it was cut off")));
      }
      body;
      pieces = [];
      waiting = 0;
      end;
      isTurning = false;
      wake;
      /** Everything that is here, or that comes first. Fails with nothing at the end. */
      next = Effect19.async((resume) => {
        const look = () => {
          this.wake = void 0;
          if (this.pieces.length > 0) {
            const batch = Chunk.unsafeFromArray(this.pieces);
            this.pieces = [];
            this.waiting = 0;
            this.body.resume();
            resume(Effect19.succeed(batch));
          } else if (this.end !== void 0) {
            resume(Effect19.fail(this.end));
          } else {
            this.wake = look;
          }
        };
        look();
        return Effect19.sync(() => {
          this.wake = void 0;
        });
      });
      close() {
        this.wake = void 0;
        this.body.destroy();
      }
      ended(end) {
        this.end ??= end;
        this.turn();
      }
      /** Wakes the reader when this turn has brought what it brings. */
      turn() {
        if (this.isTurning) return;
        this.isTurning = true;
        setImmediate(() => {
          this.isTurning = false;
          this.wake?.();
        });
      }
    };
  }
});

// src/core/http/Proxy.ts
import { BlockList as BlockList2, isIP as isIP2 } from "node:net";
var proxyFor, covers, inRange;
var init_Proxy = __esm({
  "src/core/http/Proxy.ts"() {
    "use strict";
    init_Address();
    proxyFor = (settings4, url) => {
      const proxy = url.protocol === "https:" ? settings4.https : settings4.http;
      const host2 = url.hostname.replace(/^\[|\]$/g, "");
      const isHere = host2 === "localhost" || isIP2(host2) !== 0 && kindOf(host2) === "loopback";
      return proxy === void 0 || isHere || settings4.noProxy.some((rule) => covers(rule, host2, url.port || (url.protocol === "https:" ? "443" : "80"))) ? void 0 : proxy;
    };
    covers = (rule, host2, port) => {
      if (rule === "*") return true;
      const [address2 = "", prefix] = rule.split("/");
      const family = isIP2(address2);
      if (prefix !== void 0) return family !== 0 && isIP2(host2) === family && inRange(address2, Number(prefix), family, host2);
      if (family !== 0) return host2 === address2;
      const [name = "", rulePort] = rule.split(":");
      if (rulePort !== void 0 && rulePort !== port) return false;
      const domain = name.replace(/^\*?\./, "").toLowerCase();
      return domain !== "" && (host2 === domain || host2.endsWith(`.${domain}`));
    };
    inRange = (address2, prefix, family, host2) => {
      if (!Number.isInteger(prefix) || prefix < 0 || prefix > (family === 6 ? 128 : 32)) return false;
      const type = family === 6 ? "ipv6" : "ipv4";
      const list4 = new BlockList2();
      list4.addSubnet(address2, prefix, type);
      return list4.check(host2, type);
    };
  }
});

// src/core/http/ProxyAgents.ts
var agent;
var init_ProxyAgents = __esm({
  "src/core/http/ProxyAgents.ts"() {
    "use strict";
    agent = async (proxy, isSecure, signal) => {
      const options2 = { keepAlive: true, signal };
      if (proxy.startsWith("socks")) return new (await import("socks-proxy-agent")).SocksProxyAgent(proxy, { keepAlive: true });
      return isSecure ? new (await import("https-proxy-agent")).HttpsProxyAgent(proxy, options2) : new (await import("http-proxy-agent")).HttpProxyAgent(proxy, options2);
    };
  }
});

// src/core/http/NodeHttp.ts
import { lookup as resolve4 } from "node:dns";
import * as Http from "node:http";
import * as Https from "node:https";
import { isIP as isIP3 } from "node:net";
import { rootCertificates } from "node:tls";
import * as NodeStream from "@effect/platform-node/NodeStream";
import * as Cookies from "@effect/platform/Cookies";
import * as Headers from "@effect/platform/Headers";
import * as HttpClient2 from "@effect/platform/HttpClient";
import * as HttpClientError from "@effect/platform/HttpClientError";
import * as HttpClientResponse from "@effect/platform/HttpClientResponse";
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage";
import * as UrlParams from "@effect/platform/UrlParams";
import * as Context2 from "effect/Context";
import * as Effect20 from "effect/Effect";
import * as Inspectable from "effect/Inspectable";
import * as Layer from "effect/Layer";
import * as Option3 from "effect/Option";
var layer, send, LOOKS, watch, agents, refusal2, checkedLookup, NodeResponse;
var init_NodeHttp = __esm({
  "src/core/http/NodeHttp.ts"() {
    "use strict";
    init_Errors();
    init_Address();
    init_Batches();
    init_Proxy();
    init_ProxyAgents();
    init_Reach();
    layer = (limits2, proxies = { noProxy: [] }) => Layer.scoped(
      HttpClient2.HttpClient,
      Effect20.map(
        agents,
        (agentFor) => HttpClient2.make((request, url, signal, fiber) => {
          const reach = Context2.get(fiber.currentContext, Reach);
          const proxy = proxyFor(proxies, url);
          return Effect20.flatMap(agentFor(url.protocol, reach, proxy), (agent2) => send({ request, url, signal, reach, agent: agent2, proxy: proxy === void 0 ? void 0 : new URL(proxy).host, limits: limits2 }));
        })
      )
    );
    send = ({ agent: agent2, limits: limits2, proxy, reach, request, signal, url }) => Effect20.async((resume) => {
      const fail34 = (cause) => resume(Effect20.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause })));
      const host2 = url.hostname.replace(/^\[|\]$/g, "");
      const refused7 = isIP3(host2) === 0 ? void 0 : refusal2(host2, host2, reach);
      if (refused7 !== void 0) return fail34(refused7);
      const body2 = request.body._tag === "Uint8Array" ? request.body.body : void 0;
      const sent = (url.protocol === "https:" ? Https : Http).request(url, {
        agent: agent2,
        ...reach.ca === void 0 ? {} : { ca: [...rootCertificates, reach.ca] },
        method: request.method,
        headers: { ...request.headers, ...body2 === void 0 ? {} : { "content-length": body2.length, "content-type": request.body.contentType } }
      });
      let isConnected = proxy === void 0;
      sent.on("error", (error) => {
        if (isConnected || error instanceof ProxyRefused) return fail34(error);
        fail34(new ProxyRefused(`the proxy ${proxy ?? ""} gives no connection: ${systemCode(error) ?? error.message}`, systemCode(error)));
      });
      const late = (what) => {
        const slow = new TooSlow(isConnected ? what : `${what} by the proxy ${proxy ?? ""}`);
        fail34(slow);
        sent.destroy(slow);
      };
      const abort = () => void sent.destroy();
      signal.addEventListener("abort", abort, { once: true });
      const connecting = setTimeout(() => late(`no connection within ${limits2.connectSeconds} s`), limits2.connectSeconds * 1e3);
      const answering = setTimeout(() => late(`no answer within ${limits2.headersSeconds} s`), limits2.headersSeconds * 1e3);
      const answered2 = () => {
        clearTimeout(connecting);
        clearTimeout(answering);
      };
      sent.once("socket", (socket) => {
        isConnected = true;
        if (socket.connecting) socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => clearTimeout(connecting));
        else clearTimeout(connecting);
      });
      const refusedWith = (status) => void sent.destroy(new ProxyRefused(`the proxy ${proxy ?? ""} refused it with HTTP ${status}`));
      sent.once("proxyConnect", ({ statusCode }) => {
        if (statusCode !== 200) refusedWith(statusCode);
      });
      sent.once("response", (response) => {
        answered2();
        if (proxy !== void 0 && response.statusCode === 407) return refusedWith(407);
        watch(response, limits2);
        resume(Effect20.succeed(new NodeResponse(request, response, proxy !== void 0)));
      });
      sent.once("close", () => {
        answered2();
        signal.removeEventListener("abort", abort);
      });
      sent.end(body2);
      return Effect20.sync(abort);
    });
    LOOKS = 4;
    watch = (response, { bytesPerSecond, stallSeconds }) => {
      response.on("error", () => void 0);
      const socket = response.socket;
      const marks = [socket.bytesRead];
      const timer = setInterval(() => {
        if (response.complete || response.readableLength >= response.readableHighWaterMark) marks.length = 0;
        marks.push(socket.bytesRead);
        if (marks.length <= LOOKS) return;
        const received = socket.bytesRead - (marks.shift() ?? 0);
        if (received < Math.max(1, bytesPerSecond * stallSeconds)) {
          response.destroy(new TooSlow(`only ${received} bytes came within ${stallSeconds} s`));
        }
      }, stallSeconds * 1e3 / LOOKS);
      response.once("close", () => clearInterval(timer));
    };
    agents = Effect20.map(
      Effect20.acquireRelease(
        Effect20.sync(() => ({ made: /* @__PURE__ */ new Map(), end: new AbortController() })),
        ({ end, made: made3 }) => Effect20.promise(async () => {
          end.abort();
          for (const agent2 of await Promise.all(made3.values())) agent2.destroy();
        })
      ),
      ({ end, made: made3 }) => (protocol, reach, proxy) => Effect20.promise(() => {
        const key = JSON.stringify([protocol, reach.kinds, reach.ca, proxy]);
        const found = made3.get(key);
        if (found !== void 0) return found;
        const options2 = { keepAlive: true, lookup: checkedLookup(reach) };
        const isSecure = protocol === "https:";
        const agent2 = proxy !== void 0 ? agent(proxy, isSecure, end.signal) : Promise.resolve(isSecure ? new Https.Agent(options2) : new Http.Agent(options2));
        made3.set(key, agent2);
        return agent2;
      })
    );
    refusal2 = (host2, address2, { kinds: kinds3 }) => {
      const kind3 = kindOf(address2);
      return kinds3 === "any" || kind3 === "public" || kinds3.includes(kind3) ? void 0 : new AddressRefused(host2, address2, kind3);
    };
    checkedLookup = (reach) => (hostname, options2, done2) => resolve4(hostname, { ...options2, all: true }, (error, found) => {
      if (error !== null) return done2(error, []);
      const refused7 = found.map(({ address: address2 }) => refusal2(hostname, address2, reach));
      const within = found.filter((_, i) => refused7[i] === void 0);
      const [first] = within;
      if (first === void 0) return done2(refused7.find((each) => each !== void 0) ?? new Error(`${hostname} has no address`), []);
      if (options2.all === true) done2(null, within);
      else done2(null, first.address, first.family);
    });
    NodeResponse = class extends Inspectable.Class {
      constructor(request, source, isProxied) {
        super();
        this.request = request;
        this.source = source;
        this.headers = Headers.fromInput(source.headers);
        this.remoteAddress = isProxied ? Option3.none() : Option3.fromNullable(source.socket.remoteAddress);
      }
      request;
      source;
      [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId;
      [HttpClientResponse.TypeId] = HttpClientResponse.TypeId;
      headers;
      remoteAddress;
      get status() {
        return this.source.statusCode ?? 0;
      }
      get cookies() {
        return Cookies.empty;
      }
      get stream() {
        return stream(this.source, this.broken);
      }
      get text() {
        return NodeStream.toString(() => this.source, { onFailure: this.broken });
      }
      get arrayBuffer() {
        return NodeStream.toUint8Array(() => this.source, { onFailure: this.broken }).pipe(Effect20.map((bytes2) => Uint8Array.from(bytes2).buffer));
      }
      get json() {
        return Effect20.tryMap(this.text, { try: (text5) => JSON.parse(text5), catch: this.broken });
      }
      get urlParamsBody() {
        return Effect20.map(this.text, (text5) => UrlParams.fromInput(new URLSearchParams(text5)));
      }
      get formData() {
        return Effect20.fail(this.broken(new Error("forms are not read here")));
      }
      toJSON() {
        return { _id: "shifter-sdk/NodeResponse", status: this.status };
      }
      broken = (cause) => new HttpClientError.ResponseError({ request: this.request, response: this, reason: "Decode", cause });
    };
  }
});

// src/core/AbsolutePath.ts
import * as Schema10 from "effect/Schema";
var AbsolutePath;
var init_AbsolutePath = __esm({
  "src/core/AbsolutePath.ts"() {
    "use strict";
    AbsolutePath = Schema10.String.pipe(
      // eslint-disable-next-line no-control-regex
      Schema10.filter((text5) => /^\/[^\u0000-\u001f]*$/.test(text5) && !text5.split("/").includes("..") || "an absolute path without '..'")
    );
  }
});

// src/core/Complaints.ts
import * as ParseResult2 from "effect/ParseResult";
var complaints, nearest, editDistance;
var init_Complaints = __esm({
  "src/core/Complaints.ts"() {
    "use strict";
    complaints = (error) => {
      const issues = ParseResult2.ArrayFormatter.formatErrorSync(error);
      const telling2 = issues.filter(({ message }) => !message.startsWith("Expected undefined"));
      return (telling2.length === 0 ? issues : telling2).map(({ _tag, message, path: path3 }) => {
        const key = path3.map(String).join(".");
        if (_tag !== "Unexpected") return key === "" ? message : `${key}: ${message}`;
        const likely = nearest(String(path3.at(-1)), [...message.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name));
        return `${key}: there is no such key${likely === void 0 ? "" : `; did you mean "${likely}"?`}`;
      });
    };
    nearest = (typed, words) => {
      const ranked2 = words.map((word2) => ({ word: word2, distance: editDistance(typed.toLowerCase(), word2.toLowerCase()) })).sort((a, b) => a.distance - b.distance);
      const [best] = ranked2;
      return best !== void 0 && best.distance <= Math.max(2, best.word.length / 3) ? best.word : void 0;
    };
    editDistance = (a, b) => {
      let row = Array.from({ length: b.length + 1 }, (_, j) => j);
      for (let i = 1; i <= a.length; i++) {
        const next = [i];
        for (let j = 1; j <= b.length; j++) {
          next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
        }
        row = next;
      }
      return row[b.length] ?? 0;
    };
  }
});

// src/core/ChosSettings.ts
import * as Schema11 from "effect/Schema";
var Chos, defaultChos;
var init_ChosSettings = __esm({
  "src/core/ChosSettings.ts"() {
    "use strict";
    init_AbsolutePath();
    Chos = Schema11.Struct({
      /** The file that names the trees, as the CHOS of the site reads it. */
      shells: Schema11.optionalWith(AbsolutePath, { default: () => "/etc/chos" }),
      /** The file with the variables that CHOS keeps and how it starts a shell; it may be missing. */
      conf: Schema11.optionalWith(AbsolutePath, { default: () => "/etc/chos.conf" }),
      /** Who may have trees converted by a gateway service. The trees are those of `shells`, which are the site's own. */
      users: Schema11.optionalWith(Schema11.Literal("all", "none"), { default: () => "none" }),
      /** What is done when everyone may read a file of a tree, but not the account that converts: fail, or leave it out and say so. */
      unreadable: Schema11.optionalWith(Schema11.Literal("refuse", "skip"), { default: () => "refuse" }),
      /** Whether `$CHOS`, else the file below, names a user's image where he names none. */
      defaults: Schema11.optionalWith(Schema11.Boolean, { default: () => false }),
      /** The file in a home directory whose first line names an environment. */
      userFile: Schema11.optionalWith(Schema11.String.pipe(Schema11.pattern(/^[A-Za-z0-9._-]{1,80}$/, { message: () => "the name of a file" }), Schema11.filter((name) => !/^\.{1,2}$/.test(name) || "the name of a file")), { default: () => ".chos" }),
      /** Whether the tree of the name `default` stands in for a name that the site does not know. */
      failToDefault: Schema11.optionalWith(Schema11.Boolean, { default: () => false })
    });
    defaultChos = Schema11.decodeSync(Chos)({});
  }
});

// src/core/ImageRecord.ts
import * as Either11 from "effect/Either";
import * as Schema12 from "effect/Schema";
var withoutNul, Id, platformPattern, Acl, MetadataFields, AccessFields, Requester, RecordFields, kind, encode2, written, decode6, mayUse, mergeAccess, decimal, firstLine;
var init_ImageRecord = __esm({
  "src/core/ImageRecord.ts"() {
    "use strict";
    init_Digest();
    init_Errors();
    init_FieldFile();
    init_ImageRef();
    init_Limits();
    withoutNul = Schema12.String.pipe(Schema12.filter((s) => !s.includes("\0") || "NUL is not allowed"));
    Id = Schema12.Int.pipe(Schema12.between(0, 4294967294));
    platformPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(?:\/[A-Za-z0-9][A-Za-z0-9_.-]{0,127}){1,2}$/;
    Acl = Schema12.Array(Id).pipe(Schema12.maxItems(formatLimits.aclIds));
    MetadataFields = Schema12.Struct({
      env: Schema12.Array(
        withoutNul.pipe(
          Schema12.pattern(/^[^=]+=/, { message: () => "an environment entry is NAME=VALUE" }),
          Schema12.filter((s) => bytesOf(s).length <= formatLimits.envBytes || `an environment entry is longer than ${formatLimits.envBytes} bytes`)
        )
      ),
      entrypoint: Schema12.Array(withoutNul),
      command: Schema12.Array(withoutNul),
      workdir: Schema12.optional(withoutNul.pipe(Schema12.pattern(/^\//, { message: () => "a working directory is an absolute path" }))),
      labels: Schema12.Array(Schema12.Tuple(withoutNul.pipe(Schema12.filter((s) => s !== "" || "a label has a name")), withoutNul))
    });
    AccessFields = Schema12.Struct({
      access: Schema12.Literal("public", "private"),
      owner: Id,
      allowUids: Acl,
      allowGids: Acl
    });
    Requester = Schema12.Struct({
      uid: Id,
      gids: Schema12.optional(Schema12.Array(Id).pipe(Schema12.maxItems(formatLimits.groupCount)))
    });
    RecordFields = Schema12.Struct({
      id: Schema12.String.pipe(Schema12.filter((s) => isImageId(s) || "not an image id")),
      reference: Schema12.String.pipe(Schema12.filter((s) => isCanonical(s) || "not a canonical reference")),
      sourceDigest: Digest,
      manifestDigest: Schema12.optional(Digest),
      // eslint-disable-next-line no-control-regex
      profile: Schema12.String.pipe(Schema12.pattern(/^[^\u0000-\u001f\u007f]+$/, { message: () => "a packing profile is text without control characters" })),
      platform: Schema12.String.pipe(Schema12.pattern(platformPattern, { message: () => "a platform is os/arch[/variant]" })),
      imageSize: Schema12.NonNegativeInt,
      imageSha256: Schema12.String.pipe(Schema12.pattern(/^[0-9a-f]{64}$/)),
      entries: Schema12.NonNegativeInt,
      ...AccessFields.fields,
      ...MetadataFields.fields
    });
    kind = {
      magic: "shifter-record",
      version: 1,
      limit: formatLimits.recordBytes,
      keys: {
        id: "required",
        reference: "required",
        "source-digest": "required",
        "manifest-digest": "optional",
        profile: "required",
        platform: "required",
        "image-size": "required",
        "image-sha256": "required",
        entries: "required",
        owner: "required",
        access: "required",
        "allow-uid": "repeated",
        "allow-gid": "repeated",
        entrypoint: "repeated",
        command: "repeated",
        env: "repeated",
        workdir: "optional",
        label: "repeated"
      }
    };
    encode2 = (record) => {
      const bytes2 = written(record);
      return Either11.map(decode6(bytes2), () => bytes2);
    };
    written = (record) => encode(kind, [
      ["id", record.id],
      ["reference", record.reference],
      ["source-digest", record.sourceDigest],
      ...record.manifestDigest === void 0 ? [] : [["manifest-digest", record.manifestDigest]],
      ["profile", record.profile],
      ["platform", record.platform],
      ["image-size", String(record.imageSize)],
      ["image-sha256", record.imageSha256],
      ["entries", String(record.entries)],
      ["owner", String(record.owner)],
      ["access", record.access],
      ...record.allowUids.map((uid) => ["allow-uid", String(uid)]),
      ...record.allowGids.map((gid) => ["allow-gid", String(gid)]),
      ...record.entrypoint.map((word2) => ["entrypoint", word2]),
      ...record.command.map((word2) => ["command", word2]),
      ...record.env.map((entry) => ["env", entry]),
      ...record.workdir === void 0 ? [] : [["workdir", record.workdir]],
      ...record.labels.map(([name, value9]) => ["label", `${name}\0${value9}`])
    ]);
    decode6 = (bytes2) => Either11.flatMap(decode(kind, bytes2), (fields) => {
      const one = (key) => fields.get(key)?.[0];
      const all7 = (key) => fields.get(key) ?? [];
      const labels = all7("label").map((label) => label.split("\0"));
      const decoded = Schema12.decodeUnknownEither(RecordFields)({
        id: one("id"),
        reference: one("reference"),
        sourceDigest: one("source-digest"),
        ...fields.has("manifest-digest") ? { manifestDigest: one("manifest-digest") } : {},
        profile: one("profile"),
        platform: one("platform"),
        imageSize: decimal(one("image-size")),
        imageSha256: one("image-sha256"),
        entries: decimal(one("entries")),
        owner: decimal(one("owner")),
        access: one("access"),
        allowUids: all7("allow-uid").map(decimal),
        allowGids: all7("allow-gid").map(decimal),
        entrypoint: all7("entrypoint"),
        command: all7("command"),
        env: all7("env"),
        ...fields.has("workdir") ? { workdir: one("workdir") } : {},
        labels
      });
      return Either11.mapLeft(decoded, (error) => new FormatError(errorFields("RECORD_INVALID", `This record is not valid: ${firstLine(error.message)}`)));
    });
    mayUse = (image2, requester) => requester === void 0 || image2.access === "public" || image2.owner === requester.uid || image2.allowUids.includes(requester.uid) || (requester.gids ?? []).some((gid) => image2.allowGids.includes(gid));
    mergeAccess = (published, pulled2) => {
      if (published.access === "public" || pulled2.access === "public") {
        return { access: "public", owner: published.owner, allowUids: [], allowGids: [] };
      }
      const owner = published.owner === pulled2.owner ? [] : [pulled2.owner];
      return {
        access: "private",
        owner: published.owner,
        allowUids: [.../* @__PURE__ */ new Set([...published.allowUids, ...owner, ...pulled2.allowUids])].sort((a, b) => a - b),
        allowGids: [.../* @__PURE__ */ new Set([...published.allowGids, ...pulled2.allowGids])].sort((a, b) => a - b)
      };
    };
    decimal = (text5) => text5 !== void 0 && /^(0|[1-9][0-9]{0,15})$/.test(text5) ? Number(text5) : Number.NaN;
    firstLine = (text5) => text5.split("\n").map((line) => line.trim()).filter(Boolean).slice(-1)[0] ?? text5;
  }
});

// src/core/Registries.ts
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import * as nodePath10 from "node:path";
import * as Redacted5 from "effect/Redacted";
import * as Schema13 from "effect/Schema";
var Host, Budget, Registry, Registries, seconds, Network, defaultNetwork, Cache, defaultCache, ProxyUrl, Proxy2, environmentProxy, settings, read5, dockerDirectory;
var init_Registries = __esm({
  "src/core/Registries.ts"() {
    "use strict";
    init_AbsolutePath();
    init_Errors();
    Host = Schema13.String.pipe(
      Schema13.pattern(/^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?$/, { message: () => "a host in lower case, with a port where it needs one" })
    );
    Budget = Schema13.Struct({ requests: Schema13.Int.pipe(Schema13.between(2, 1e9)), seconds: Schema13.Number.pipe(Schema13.between(1, 30 * 24 * 3600)) });
    Registry = Schema13.Struct({
      /** Speak `http://`. For registries on this machine or a trusted network. */
      plainHttp: Schema13.optionalWith(Schema13.Boolean, { default: () => false }),
      /** User name; the password is the first line of `passwordFile`. */
      username: Schema13.optional(Schema13.NonEmptyString),
      passwordFile: Schema13.optional(AbsolutePath),
      /** A file with the certificates (PEM) of a private authority, trusted for this registry alone, beside the well-known ones. */
      ca: Schema13.optional(AbsolutePath),
      /** Hosts that are asked first, in this order; each may have settings of its own under `registries`. */
      mirrors: Schema13.optionalWith(Schema13.Array(Host).pipe(Schema13.maxItems(16)), { default: () => [] }),
      /** How often this process asks it at most. */
      budget: Schema13.optional(Budget)
    }).pipe(Schema13.filter((r2) => r2.username === void 0 === (r2.passwordFile === void 0) || "username and passwordFile belong together"));
    Registries = Schema13.Record({ key: Schema13.String, value: Registry });
    seconds = (fallback) => Schema13.optionalWith(Schema13.Number.pipe(Schema13.between(0.1, 3600)), { default: () => fallback });
    Network = Schema13.Struct({
      /** Seconds until a connection stands. */
      connectSeconds: seconds(10),
      /** Seconds until an answer begins. */
      headersSeconds: seconds(60),
      /** Seconds that a body may stand still, or trickle with less than `bytesPerSecond`. */
      stallSeconds: seconds(60),
      bytesPerSecond: Schema13.optionalWith(Schema13.Int.pipe(Schema13.between(0, 1e9)), { default: () => 1024 })
    });
    defaultNetwork = Schema13.decodeSync(Network)({});
    Cache = Schema13.Struct({
      /** Bytes of blobs that are kept; the least recently used ones go first. `0` keeps none once their image is published. */
      bytes: Schema13.optionalWith(Schema13.Int.pipe(Schema13.nonNegative()), { default: () => 10 * 1024 ** 3 })
    });
    defaultCache = Schema13.decodeSync(Cache)({});
    ProxyUrl = Schema13.String.pipe(
      Schema13.filter((text5) => URL.canParse(text5) && /^(?:https?|socks(?:4a?|5h?)?):$/.test(new URL(text5).protocol) || "a URL of http, https, socks4, socks4a, socks5 or socks5h")
    );
    Proxy2 = Schema13.Struct({
      /** For `https://` and for `http://` registries. May hold a user name and a password. */
      https: Schema13.optional(ProxyUrl),
      http: Schema13.optional(ProxyUrl),
      /** What is reached without it: hosts, domains (with all below), address ranges; `*` for all. */
      noProxy: Schema13.optionalWith(Schema13.Array(Schema13.String.pipe(Schema13.pattern(/^\S+$/, { message: () => "a host, domain or range without blanks" }))), { default: () => [] })
    });
    environmentProxy = (environment2) => {
      const value9 = (name) => [environment2[name.toLowerCase()], environment2[name]].find((each) => each !== void 0 && each !== "");
      const url = (name) => [value9(name), value9("ALL_PROXY")].map((text5) => text5 === void 0 || text5.includes("://") ? text5 : `http://${text5}`).find(Schema13.is(ProxyUrl));
      return { https: url("HTTPS_PROXY"), http: url("HTTP_PROXY"), noProxy: (value9("NO_PROXY") ?? "").split(",").filter((each) => each !== "") };
    };
    settings = (registries, host2) => {
      const registry2 = Object.hasOwn(registries, host2) ? registries[host2] : void 0;
      return {
        named: registry2 !== void 0,
        plainHttp: registry2?.plainHttp ?? false,
        credentials: registry2?.username === void 0 || registry2.passwordFile === void 0 ? void 0 : { username: registry2.username, password: Redacted5.make(read5("password file", registry2.passwordFile).split("\n")[0] ?? "") },
        ca: registry2?.ca === void 0 ? void 0 : read5("certificate file", registry2.ca),
        mirrors: registry2?.mirrors ?? [],
        budget: registry2?.budget
      };
    };
    read5 = (what, file) => {
      try {
        return readFileSync(file, "utf8");
      } catch (error) {
        throw new FormatError(errorFields("CONFIG_INVALID", `The ${what} ${file} can't be read: ${messageOf(error)}`, { cause: error }));
      }
    };
    dockerDirectory = (environment2) => {
      const named = environment2["DOCKER_CONFIG"];
      return named !== void 0 && named.startsWith("/") ? named : nodePath10.join(homedir(), ".docker");
    };
  }
});

// src/core/ImportSettings.ts
import * as Effect22 from "effect/Effect";
import * as Schema14 from "effect/Schema";
var AccountName, bytes, Import, defaultImport, permitted, numbersOf;
var init_ImportSettings = __esm({
  "src/core/ImportSettings.ts"() {
    "use strict";
    init_AbsolutePath();
    init_Errors();
    init_ImageRecord();
    init_Process();
    init_Registries();
    AccountName = Schema14.String.pipe(Schema14.pattern(/^[A-Za-z_][A-Za-z0-9_.-]{0,255}$/, { message: () => "the name of an account, or its number" }));
    bytes = (fallback) => Schema14.optionalWith(Schema14.Int.pipe(Schema14.positive()), { default: () => fallback });
    Import = Schema14.Struct({
      /** Directories below which a user may name files of his own. Their names lead through no symbolic link. */
      roots: Schema14.optionalWith(Schema14.Array(AbsolutePath).pipe(Schema14.maxItems(100)), { default: () => [] }),
      /** Who may import beside the gateway's own account: `all`, `none`, or accounts by name or number. */
      users: Schema14.optionalWith(Schema14.Union(Schema14.Literal("all", "none"), Schema14.Array(Schema14.Union(AccountName, Id))), { default: () => "none" }),
      /** Bytes of one upload, and of one file that is fetched from a URL. */
      uploadBytes: bytes(100 * 1024 ** 3),
      /** Bytes of all uploads of one user. */
      userBytes: bytes(200 * 1024 ** 3),
      /** Hours after which an upload that nothing was added to is removed. */
      uploadHours: Schema14.optionalWith(Schema14.Number.pipe(Schema14.between(0.1, 8760)), { default: () => 24 }),
      /** Whether files are fetched from URLs, of https alone. */
      urls: Schema14.optionalWith(Schema14.Boolean, { default: () => false }),
      /** Hosts, with a port where it is not 443, that may be at addresses of this network. */
      urlHosts: Schema14.optionalWith(Schema14.Array(Host).pipe(Schema14.maxItems(100)), { default: () => [] }),
      /** A file with the certificates (PEM) of a private authority, trusted for `urlHosts` alone, beside the well-known ones. */
      urlCa: Schema14.optional(AbsolutePath)
    });
    defaultImport = Schema14.decodeSync(Import)({});
    permitted = ({ users }, uid) => Effect22.gen(function* () {
      if (uid === void 0 || uid === process.getuid?.() || users === "all") return;
      const named = users === "none" ? [] : users;
      if (named.includes(uid)) return;
      const names2 = named.filter((each) => typeof each === "string");
      if (names2.length > 0 && (yield* numbersOf(names2)).includes(uid)) return;
      return yield* new GatewayError(
        errorFields("ACCESS_DENIED", `uid ${uid} may not import images`, { remedy: 'Ask the administrator, who names those who may in "import.users" of the gateway configuration.' })
      );
    });
    numbersOf = (names2) => output("getent", ["passwd", "--", ...names2]).pipe(
      Effect22.mapError((fault2) => new GatewayError(errorFields("TOOL_MISSING", `Who may import can't be looked up: ${fault2.message}`, { cause: fault2, remedy: 'Install getent, or write numbers in "import.users".' }))),
      Effect22.map(
        ({ stdout }) => stdout.split("\n").flatMap((line) => {
          const [name = "", , uid = ""] = line.split(":");
          return names2.includes(name) && /^[0-9]+$/.test(uid) ? [Number(uid)] : [];
        })
      )
    );
  }
});

// src/core/Expiration.ts
var units, parse5;
var init_Expiration = __esm({
  "src/core/Expiration.ts"() {
    "use strict";
    units = [24 * 3600, 3600, 60, 1];
    parse5 = (text5) => {
      if (!/^[0-9]{1,6}(?::[0-9]{1,10}){3}$/.test(text5)) return void 0;
      const seconds8 = text5.split(":").reduce((sum, part, at) => sum + Number(part) * (units[at] ?? 0), 0);
      return seconds8 <= 100 * 365 * 24 * 3600 ? seconds8 : void 0;
    };
  }
});

// src/core/ServiceConfig.ts
import * as Schema15 from "effect/Schema";
var whole, DAY, Account, Listen, Server, PullPolicy, Lifetime, HUB_HOSTS, registryHost, RegistryHost, Dialect, Postgres, SystemService, defaultServer, defaultPullPolicy, defaultDialect, defaultLifetime;
var init_ServiceConfig = __esm({
  "src/core/ServiceConfig.ts"() {
    "use strict";
    init_AbsolutePath();
    whole = (from, to, fallback) => Schema15.optionalWith(Schema15.Int.pipe(Schema15.between(from, to)), { default: () => fallback });
    DAY = 24 * 3600;
    Account = Schema15.Union(
      Schema15.String.pipe(Schema15.pattern(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,255}\$?$/, { message: () => "the name or number of an account" })),
      Schema15.Int.pipe(Schema15.between(0, 4294967294))
    );
    Listen = Schema15.String.pipe(
      Schema15.pattern(/^(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|\/\S+)$/, { message: () => "HOST:PORT, [ADDRESS]:PORT or the path of a socket" })
    );
    Server = Schema15.Struct({
      /** Where it listens; a port of 0 is any free one. */
      listen: Schema15.optionalWith(Schema15.NonEmptyArray(Listen), { default: () => ["127.0.0.1:5000"] }),
      /** Certificate chain and key (PEM). Without them it speaks plain HTTP, for a trusted network or a proxy of this machine. */
      tls: Schema15.optional(Schema15.Struct({ certificate: AbsolutePath, key: AbsolutePath })),
      /** `mock` believes whatever a caller says of himself: for tests, on addresses of this machine alone. */
      authentication: Schema15.optionalWith(Schema15.Literal("munge", "mock"), { default: () => "munge" }),
      /** Whether public images are told to those who do not say who they are. */
      publicReads: Schema15.optionalWith(Schema15.Boolean, { default: () => false }),
      /** Bytes of a request's body, uploads excepted. */
      bodyBytes: whole(1024, 1 << 28, 1024 * 1024),
      /** Seconds until a request must be there. */
      requestSeconds: whole(1, 3600, 30),
      /** Connections at once. */
      connections: whole(1, 1e6, 4096),
      /** Seconds that pulls are given to come to a place where they can be resumed, when the service is stopped. */
      stopSeconds: whole(0, 3600, 20)
    });
    PullPolicy = Schema15.Struct({
      /** Pulls of this process. */
      atOnce: whole(1, 256, 4),
      /** Conversions of this process; the others are fetched meanwhile. */
      conversions: whole(1, 64, 1),
      /** Pulls of one user, over all replicas, while others wait. */
      perUser: whole(1, 256, 2),
      /** Pulls from one registry, over all replicas. */
      perRegistry: whole(1, 256, 4),
      /** Pulls of one user that may wait. */
      waitingPerUser: whole(1, 1e5, 200),
      /** Seconds that one pull may take, so that a source that trickles holds no place for ever. */
      longestSeconds: whole(1, 7 * DAY, 6 * 3600),
      /** How often a pull is begun that fails for reasons that may pass. */
      attempts: whole(1, 100, 5),
      /** Seconds until it is begun again; twice as long each time. */
      retrySeconds: whole(1, 3600, 10),
      /** Seconds in which the reference's command line is told of the image that is there, instead of another look at the registry. */
      updateSeconds: whole(0, 7 * DAY, 300)
    });
    Lifetime = Schema15.Struct({
      /** Seconds after its last use that an image expires; `0`: never. */
      imageSeconds: whole(0, 100 * 365 * DAY, 0),
      /** Seconds that an image stays which no name points to: longer than jobs wait and run. */
      retentionSeconds: whole(0, 100 * 365 * DAY, 30 * DAY),
      /** Seconds that ended pulls are shown. */
      pullSeconds: whole(60, 365 * DAY, 7 * DAY),
      /** Seconds that the audit log is kept. */
      auditSeconds: whole(DAY, 100 * 365 * DAY, 365 * DAY),
      /** Seconds between two collections by the service; `0`: none by itself. */
      collectSeconds: whole(0, 365 * DAY, 3600),
      /** Seconds in which every image is read again; `0`: none by itself. */
      scrubSeconds: whole(0, 100 * 365 * DAY, 30 * DAY)
    });
    HUB_HOSTS = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
    registryHost = (host2) => HUB_HOSTS.includes(host2.toLowerCase()) ? "docker.io" : host2.toLowerCase();
    RegistryHost = Schema15.String.pipe(
      Schema15.transform(Schema15.String, { strict: true, decode: registryHost, encode: (host2) => host2 }),
      Schema15.pattern(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?$/, { message: () => "a host, with a port where it needs one" })
    );
    Dialect = Schema15.Struct({
      /** Hosts by names of the site's own: with `{ "lab": "registry.example.org:5000" }`, `docker:lab/app:1` is an image of that registry. */
      locations: Schema15.optionalWith(
        Schema15.Record({ key: Schema15.String.pipe(Schema15.pattern(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/, { message: () => "a name of letters, digits, '.', '_', ':' and '-'" })), value: RegistryHost }),
        { default: () => ({}) }
      ),
      /** The registry of a reference that names none. */
      registry: Schema15.optionalWith(RegistryHost, { default: () => "docker.io" })
    });
    Postgres = Schema15.Struct({
      host: Schema15.NonEmptyString,
      port: whole(1, 65535, 5432),
      database: Schema15.optionalWith(Schema15.NonEmptyString, { default: () => "shifter" }),
      username: Schema15.optionalWith(Schema15.NonEmptyString, { default: () => "shifter" }),
      /** The password is its first line. Without it: none, as with a socket's peer authentication (`host` is then its directory). */
      passwordFile: Schema15.optional(AbsolutePath),
      /** A file with the authority's certificates (PEM): the connection is encrypted, and the server's name is checked. */
      ca: Schema15.optional(AbsolutePath),
      connections: whole(1, 100, 8)
    });
    SystemService = {
      /** Who may do what its owner may with every image of this system. root always may. */
      admins: Schema15.optionalWith(Schema15.Array(Account), { default: () => [] }),
      /** Socket of the munge daemon with this system's key. */
      munge: Schema15.optionalWith(AbsolutePath, { default: () => "/run/munge/munge.socket.2" })
    };
    defaultServer = Schema15.decodeSync(Server)({});
    defaultPullPolicy = Schema15.decodeSync(PullPolicy)({});
    defaultDialect = Schema15.decodeSync(Dialect)({});
    defaultLifetime = Schema15.decodeSync(Lifetime)({});
  }
});

// src/core/ImageManager.ts
import { homedir as homedir2 } from "node:os";
import * as nodePath11 from "node:path";
import * as Either12 from "effect/Either";
import * as Schema16 from "effect/Schema";
var Text, Texts, Directory, Count, Location, Platform, File, idle, idleOfLocation, idleOfPlatform, idleOfSsh, isOne, object, list2, without, convert, refusals, unused, REFERENCE_UPDATE, MOST_THREADS, PORT, converted, lifetimeOf, importersOf, locationsOf, systemOf, directory2;
var init_ImageManager = __esm({
  "src/core/ImageManager.ts"() {
    "use strict";
    init_Complaints();
    init_Expiration();
    init_ServiceConfig();
    Text = Schema16.NonEmptyString;
    Texts = Schema16.Union(Schema16.Array(Text), Text);
    Directory = Schema16.String.pipe(
      Schema16.filter((text5) => text5.startsWith("/") && !/[\0\n]/.test(text5) && !text5.split("/").includes("..") || "an absolute path without '..'")
    );
    Count = Schema16.Union(Schema16.Int, Schema16.NumberFromString.pipe(Schema16.int())).pipe(Schema16.positive());
    Location = Schema16.Struct({
      remotetype: Schema16.optionalWith(Schema16.Literal("dockerv2"), { default: () => "dockerv2" }),
      url: Schema16.optional(Text),
      sslcacert: Schema16.optional(Directory)
    });
    Platform = Schema16.Struct({
      mungeSocketPath: Schema16.optional(Directory),
      accesstype: Schema16.Literal("local", "remote"),
      admins: Schema16.optional(Texts),
      use_external: Schema16.optional(Schema16.Boolean),
      policy_file: Schema16.optional(Schema16.String),
      host: Schema16.optional(Texts),
      ssh: Schema16.optional(
        Schema16.Struct({ username: Schema16.optional(Text), key: Schema16.optional(Directory), imageDir: Schema16.optional(Directory) })
      ),
      local: Schema16.optional(Schema16.Struct({ imageDir: Directory }))
    });
    File = Schema16.Struct({
      WorkerThreads: Schema16.optional(Count),
      DefaultImageLocation: Text,
      DefaultImageFormat: Schema16.optionalWith(Schema16.Literal("squashfs"), { default: () => "squashfs" }),
      PullUpdateTimeout: Schema16.optional(Count),
      ImageExpirationTimeout: Schema16.optional(Schema16.String),
      CacheDirectory: Directory,
      Authentication: Schema16.optionalWith(Schema16.Literal("munge", "mock"), { default: () => "munge" }),
      ImportUsers: Schema16.optional(Schema16.NullOr(Texts)),
      Locations: Schema16.Record({ key: Schema16.String, value: Location }),
      Platforms: Schema16.Record({ key: Schema16.String, value: Platform }).pipe(Schema16.filter((platforms) => Object.keys(platforms).length > 0 || "at least one platform"))
    });
    idle = {
      LogLevel: "the service's own settings say what it logs",
      ExpandDirectory: "nothing is unpacked: layers are merged as a stream",
      MongoDBURI: "there is no MongoDB any more. What it holds of pulls and images is not read",
      MongoDB: "there is no MongoDB any more",
      Metrics: "lookups are always in the audit log",
      ConverterOptions: "images are packed in one way, so that the same image has the same id",
      DefaultLustreReplication: "the reference never used it",
      DefaultOstCount: 'the reference never used it; "ssh.stripe" of gateway.json sets stripes',
      DefaultImageRemote: "the reference never used it",
      PullUpdateTime: "PullUpdateTimeout says it"
    };
    idleOfLocation = {
      authMethod: "what the registry asks for is done",
      authentication: "the reference never used it"
    };
    idleOfPlatform = {
      use_external: "no other programs are needed to pull",
      usergroupService: "the reference never used it",
      mountCommand: "the reference never used it"
    };
    idleOfSsh = {
      sshCmdOptions: "no ssh command is run; ports and hosts are settings of gateway.json",
      scpCmdOptions: "no scp command is run"
    };
    isOne = (config) => typeof config === "object" && config !== null && !("version" in config) && ("Platforms" in config || "CacheDirectory" in config);
    object = (value9) => typeof value9 === "object" && value9 !== null ? Object.fromEntries(Object.entries(value9)) : {};
    list2 = (value9) => typeof value9 === "string" ? [value9] : value9;
    without = (path3, given2, known2, reasons2) => Object.keys(object(given2)).filter((key) => !known2.includes(key)).map((key) => `${path3}${key} has no effect: ${Object.hasOwn(reasons2, key) ? reasons2[key] : "there is no such key"}.`);
    convert = (given2) => {
      const refused7 = refusals(given2);
      return Either12.match(Schema16.decodeUnknownEither(File, { errors: "all" })(given2), {
        onLeft: (error) => Either12.left([...complaints(error), ...refused7]),
        onRight: (file) => {
          const mistakes = [...refused7];
          const warnings2 = [...unused(given2)];
          const config = converted(file, { mistakes, warnings: warnings2 });
          return mistakes.length > 0 ? Either12.left(mistakes) : Either12.right({ config, warnings: warnings2 });
        }
      });
    };
    refusals = (given2) => {
      const file = object(given2);
      const policies = Object.entries(object(file["Platforms"])).filter(([, platform]) => object(platform)["use_external"] === true && object(platform)["policy_file"] !== void 0);
      return [
        ...file["examiner"] === void 0 ? [] : ["examiner: images are not examined by another program here; a site that goes without takes the key out"],
        ...policies.map(([name]) => `Platforms.${name}.policy_file: signatures are not checked here; a site that goes without takes the key out`)
      ];
    };
    unused = (given2) => {
      const file = object(given2);
      return [
        ...without("", file, Object.keys(File.fields), idle),
        ...Object.entries(object(file["Locations"])).flatMap(([name, location]) => without(`Locations.${name}.`, location, Object.keys(Location.fields), idleOfLocation)),
        ...Object.entries(object(file["Platforms"])).flatMap(([name, platform]) => [
          ...without(`Platforms.${name}.`, platform, Object.keys(Platform.fields), idleOfPlatform),
          ...without(`Platforms.${name}.ssh.`, object(platform)["ssh"], ["username", "key", "imageDir"], idleOfSsh)
        ])
      ];
    };
    REFERENCE_UPDATE = 300;
    MOST_THREADS = 256;
    PORT = 5e3;
    converted = (file, notes) => {
      const { locations, registries } = locationsOf(file, notes);
      const systems = Object.fromEntries(Object.entries(file.Platforms).map(([name, platform]) => [name, systemOf(name, platform, file.Authentication, notes)]));
      const registry2 = locations[file.DefaultImageLocation];
      if (registry2 === void 0) notes.mistakes.push(`DefaultImageLocation: "${file.DefaultImageLocation}" is none of the Locations (${Object.keys(file.Locations).join(", ")})`);
      if (file.PullUpdateTimeout !== void 0 && file.PullUpdateTimeout !== REFERENCE_UPDATE) {
        notes.warnings.push(`PullUpdateTimeout is ${file.PullUpdateTimeout} seconds now; the reference takes ${REFERENCE_UPDATE} whatever it says, unless PullUpdateTime is there too.`);
      }
      const stateDirectory = nodePath11.join(file.CacheDirectory, "shifter-sdk");
      notes.warnings.push(`State and blobs are kept in ${stateDirectory}; it must be on a disk of this machine. What else is in CacheDirectory is left alone.`);
      const listen2 = file.Authentication === "mock" ? `127.0.0.1:${PORT}` : `0.0.0.0:${PORT}`;
      notes.warnings.push(`The service listens on ${listen2}.`);
      return {
        version: 1,
        stateDirectory,
        systems,
        defaultSystem: Object.keys(systems)[0],
        registries,
        server: { listen: [listen2], authentication: file.Authentication },
        pulls: {
          ...file.WorkerThreads === void 0 ? {} : { atOnce: Math.min(file.WorkerThreads, MOST_THREADS) },
          ...file.PullUpdateTimeout === void 0 ? {} : { updateSeconds: file.PullUpdateTimeout }
        },
        lifetime: lifetimeOf(file, notes),
        import: { users: importersOf(file, notes) },
        // `docker login` of whoever starts the service is no setting of the reference.
        dockerLogins: false,
        dialect: { locations: Object.fromEntries(Object.entries(locations).filter(([name, host2]) => name !== host2)), ...registry2 === void 0 ? {} : { registry: registry2 } }
      };
    };
    lifetimeOf = ({ ImageExpirationTimeout }, { mistakes, warnings: warnings2 }) => {
      if (ImageExpirationTimeout === void 0) {
        warnings2.push("ImageExpirationTimeout is missing: images never expire.");
        return {};
      }
      const seconds8 = parse5(ImageExpirationTimeout);
      if (seconds8 === void 0 || seconds8 === 0) mistakes.push('ImageExpirationTimeout: "DAYS:HOURS:MINUTES:SECONDS", such as "90:00:00:00"');
      return { imageSeconds: seconds8 };
    };
    importersOf = ({ ImportUsers }, { warnings: warnings2 }) => {
      if (ImportUsers === void 0 || ImportUsers === null || ImportUsers === "None" || ImportUsers === "none") return "none";
      if (ImportUsers === "all" || ImportUsers.length > 0) {
        warnings2.push('ImportUsers: files may be imported from directories that "import.roots" of gateway.json names, and here there is none; uploads are possible.');
      }
      if (ImportUsers === "all") return "all";
      if (typeof ImportUsers === "string") {
        warnings2.push(`ImportUsers is the one name "${ImportUsers}"; the reference takes every part of it for a name.`);
        return [ImportUsers];
      }
      if (ImportUsers.length === 0) {
        warnings2.push("ImportUsers is an empty list: nobody may import. The reference takes it for everybody.");
        return "none";
      }
      return ImportUsers;
    };
    locationsOf = (file, { mistakes }) => {
      const locations = {};
      const registries = {};
      for (const [name, { sslcacert, url }] of Object.entries(file.Locations)) {
        const text5 = url ?? `https://${name}`;
        const parsed = URL.canParse(text5) ? new URL(text5) : void 0;
        if (parsed === void 0 || !/^https?:$/.test(parsed.protocol) || parsed.username !== "" || !/^\/?$/.test(parsed.pathname) || parsed.search !== "") {
          mistakes.push(`Locations.${name}${url === void 0 ? "" : ".url"}: a registry is reached at https://HOST[:PORT], without a user or a path`);
          continue;
        }
        const host2 = registryHost(parsed.host);
        const settings4 = { ...parsed.protocol === "http:" ? { plainHttp: true } : {}, ...sslcacert === void 0 ? {} : { ca: sslcacert } };
        const before = registries[host2];
        if (before !== void 0 && (before.plainHttp !== settings4.plainHttp || before.ca !== settings4.ca)) {
          mistakes.push(`Locations.${name}: another location reaches ${host2} in another way`);
        }
        locations[name] = host2;
        registries[host2] = settings4;
      }
      return { locations, registries };
    };
    systemOf = (name, platform, authentication2, { mistakes, warnings: warnings2 }) => {
      const path3 = `Platforms.${name}`;
      if (platform.mungeSocketPath === void 0 && authentication2 === "munge") mistakes.push(`${path3}.mungeSocketPath: is missing`);
      if (typeof platform.admins === "string") warnings2.push(`${path3}.admins is the one name "${platform.admins}"; the reference takes every part of it for a name.`);
      const common = {
        admins: list2(platform.admins ?? []),
        ...platform.mungeSocketPath === void 0 ? {} : { munge: nodePath11.normalize(platform.mungeSocketPath) }
      };
      if (platform.accesstype === "local") {
        if (platform.local === void 0) mistakes.push(`${path3}.local.imageDir: is missing`);
        return { ...common, imagePath: directory2(platform.local?.imageDir) };
      }
      const { imageDir, key, username } = platform.ssh ?? {};
      const hosts = list2(platform.host ?? []);
      if (imageDir === void 0) mistakes.push(`${path3}.ssh.imageDir: is missing`);
      if (username === void 0) mistakes.push(`${path3}.ssh.username: is missing`);
      if (key === void 0) mistakes.push(`${path3}.ssh.key: is missing; name the private key that ssh found by itself`);
      if (hosts.length === 0) mistakes.push(`${path3}.host: is missing`);
      if (hosts.length > 1) warnings2.push(`${path3}.host: all hosts are tried in their order; the reference uses the first alone.`);
      const knownHosts2 = nodePath11.join(homedir2(), ".ssh", "known_hosts");
      warnings2.push(`${path3}.ssh: the hosts' keys must be in ${knownHosts2}.`);
      return { ...common, imagePath: directory2(imageDir), ssh: { hosts, username, keyFile: directory2(key), knownHosts: knownHosts2 } };
    };
    directory2 = (path3) => path3 === void 0 ? void 0 : nodePath11.join(path3, ".").replace(/(?!^)\/$/, "");
  }
});

// src/core/SshSettings.ts
import * as Schema17 from "effect/Schema";
var SSH_PORT, isPort2, HOST, Host2, address, Stripe, SshSettings;
var init_SshSettings = __esm({
  "src/core/SshSettings.ts"() {
    "use strict";
    init_AbsolutePath();
    SSH_PORT = 22;
    isPort2 = (text5) => text5 === void 0 || Number(text5) >= 1 && Number(text5) <= 65535;
    HOST = /^(?:([A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?)|\[([0-9A-Fa-f:.]+)\])(?::([1-9][0-9]{0,4}))?$/;
    Host2 = Schema17.String.pipe(
      Schema17.filter((text5) => {
        const found = HOST.exec(text5);
        return found !== null && isPort2(found[3]) || "a host, with a port where it is not 22; an IPv6 address in brackets";
      })
    );
    address = (text5) => {
      const [, name, ipv6, port] = HOST.exec(text5) ?? [];
      return { host: (name ?? ipv6 ?? text5).toLowerCase(), port: port === void 0 ? SSH_PORT : Number(port) };
    };
    Stripe = Schema17.Struct({
      /** Over how many targets; -1: over all. */
      count: Schema17.optional(Schema17.Int.pipe(Schema17.between(-1, 2e3), Schema17.filter((count3) => count3 !== 0 || "a number of targets, or -1 for all"))),
      /** Bytes of one stripe: a multiple of 65536. */
      size: Schema17.optional(Schema17.Int.pipe(Schema17.between(65536, 4 * 1024 ** 3 - 65536), Schema17.multipleOf(65536)))
    }).pipe(Schema17.filter((stripe) => stripe.count !== void 0 || stripe.size !== void 0 || "a count, a size or both"));
    SshSettings = Schema17.Struct({
      /** Tried in this order; all of them see the image path. */
      hosts: Schema17.Array(Host2).pipe(Schema17.minItems(1), Schema17.maxItems(16)),
      username: Schema17.String.pipe(Schema17.pattern(/^[^\s\p{Cc}]{1,256}$/u, { message: () => "the name of an account, without blanks" })),
      /** A private key, read by nobody else; or the socket of an agent. */
      keyFile: Schema17.optional(AbsolutePath),
      agent: Schema17.optional(AbsolutePath),
      /** Its first line unlocks the private key. */
      passphraseFile: Schema17.optional(AbsolutePath),
      /** Keys of the hosts, as OpenSSH keeps them. */
      knownHosts: AbsolutePath,
      /** No more than so many are sent, or fetched, in a second. */
      bytesPerSecond: Schema17.optional(Schema17.Int.pipe(Schema17.between(1024, 1e12))),
      stripe: Schema17.optional(Stripe)
    }).pipe(
      Schema17.filter((ssh) => {
        if (ssh.keyFile === void 0 === (ssh.agent === void 0)) return "either keyFile or agent";
        return ssh.passphraseFile === void 0 || ssh.keyFile !== void 0 || "passphraseFile belongs to keyFile";
      })
    );
  }
});

// src/core/Verify.ts
import { randomBytes as randomBytes4 } from "node:crypto";
import { open as open9 } from "node:fs/promises";
import * as Effect23 from "effect/Effect";
import * as Schema18 from "effect/Schema";
import * as Stream6 from "effect/Stream";
var Verify, every, newSample, check;
var init_Verify = __esm({
  "src/core/Verify.ts"() {
    "use strict";
    init_Errors();
    init_Native();
    init_Process();
    Verify = Schema18.Literal("structure", "sampled", "full");
    every = { structure: 0, sampled: 128, full: 1 };
    newSample = (verify2) => `${every[verify2]}:${randomBytes4(8).toString("hex")}`;
    check = (file, { program: program3, sample, written: written3 }) => Effect23.scoped(
      Effect23.gen(function* () {
        const image2 = yield* Effect23.acquireRelease(
          Effect23.tryPromise({
            try: () => open9(file, "r"),
            catch: (error) => new GatewayError(errorFields(storageCode(error, "IMAGE_VERIFY_FAILED"), `The packed image ${file} can't be read: ${messageOf(error)}`, { cause: error }))
          }),
          (handle) => Effect23.promise(() => handle.close())
        );
        const process2 = yield* scoped2(program3, ["--sample", sample], { stdin: image2.fd, stdout: "pipe" }).pipe(
          Effect23.mapError((fault2) => new GatewayError(errorFields("TOOL_MISSING", `The packed image can't be verified: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 })))
        );
        const [word2, ...rest] = (yield* Stream6.runFold(lines(process2), "", (last, line) => line || last)).split(" ");
        const wrong = (what) => new GatewayError(errorFields("IMAGE_VERIFY_FAILED", `The packed image ${file} is not what was written: ${what}`));
        if (word2 === "fault") {
          const [code = "", ...what] = rest;
          return yield* code === "IMAGE_VERIFY_FAILED" || !isErrorCode(code) ? wrong(printable(what.join(" "))) : new GatewayError(errorFields(code, `The packed image ${file} can't be verified: ${printable(what.join(" "))}`));
        }
        const [inodes, contents2, imageSha256] = rest;
        if (word2 !== "done" || inodes === void 0 || contents2 === void 0 || imageSha256 === void 0) {
          return yield* new GatewayError(ended("shifter-verify", yield* Effect23.promise(() => process2.exit)));
        }
        if (Number(inodes) !== written3.inodes) return yield* wrong(`it has ${inodes} inodes, not ${written3.inodes}`);
        if (written3.contents !== void 0 && contents2 !== written3.contents) return yield* wrong("a name, its attributes or its contents differ");
        return { imageSize: (yield* Effect23.promise(() => image2.stat())).size, imageSha256 };
      })
    );
  }
});

// src/core/VmSettings.ts
import * as Schema19 from "effect/Schema";
var positive5, Vm, defaultVm;
var init_VmSettings = __esm({
  "src/core/VmSettings.ts"() {
    "use strict";
    init_AbsolutePath();
    positive5 = (fallback) => Schema19.optionalWith(Schema19.Int.pipe(Schema19.positive()), { default: () => fallback });
    Vm = Schema19.Struct({
      /** Bytes of the largest disk, as the machine sees it. */
      virtualBytes: positive5(1024 ** 4),
      /** Seconds that converting a disk may take, and reading it. */
      seconds: positive5(3600),
      /** MiB of the kernel that reads a disk's file systems. */
      memoryMiB: Schema19.optionalWith(Schema19.Int.pipe(Schema19.between(128, 4096)), { default: () => 512 }),
      /** That kernel, a User-Mode Linux. */
      kernel: Schema19.optionalWith(AbsolutePath, { default: () => "/usr/bin/linux.uml" }),
      /** The account that the tools which read a disk become where the gateway runs as root: one that has nothing. */
      account: Schema19.optionalWith(Schema19.String.pipe(Schema19.pattern(/^[a-z_][a-z0-9_-]{0,31}$/, { message: () => "the name of an account" })), { default: () => "nobody" })
    });
    defaultVm = Schema19.decodeSync(Vm)({});
  }
});

// src/core/WlmSettings.ts
import * as Schema20 from "effect/Schema";
var PlainPath, Reached, SlurmSettings, Conversions;
var init_WlmSettings = __esm({
  "src/core/WlmSettings.ts"() {
    "use strict";
    init_AbsolutePath();
    PlainPath = AbsolutePath.pipe(Schema20.pattern(/^\/[A-Za-z0-9._/+@-]{0,200}$/, { message: () => "an absolute path of letters, digits and . _ / + @ -" }));
    Reached = {
      /** Directory of its programs. Without it: where this machine's path finds them. */
      programs: Schema20.optional(AbsolutePath)
    };
    SlurmSettings = Schema20.Struct({
      ...Reached,
      /** The `slurm.conf` of the cluster, where it is not the machine's own. */
      config: Schema20.optional(AbsolutePath),
      /** Where the native programs are installed on its nodes; `prefix` of the gateway, else `/usr/local`. */
      prefix: Schema20.optional(PlainPath),
      /** Where the rendered files are put, on all of its machines. */
      directory: Schema20.optionalWith(PlainPath, { default: () => "/etc/slurm/shifter" }),
      /** Whether the options are `--shifter.image` and so on, where others have the short names. */
      longOptions: Schema20.optionalWith(Schema20.Boolean, { default: () => false }),
      /** Whether every task of a step runs inside of the job's image, or what is started by `shifter`. */
      tasks: Schema20.optionalWith(Schema20.Literal("outside", "inside"), { default: () => "outside" }),
      /** The `shifterimg` that `--image-pull` runs at submission. Without it: as the user's path finds it. */
      shifterimg: Schema20.optional(PlainPath)
    });
    Conversions = Schema20.Struct({
      wlm: Schema20.Literal("slurm"),
      /** The system whose nodes convert; the default one without it. */
      system: Schema20.optional(Schema20.String),
      /** A directory that this machine and the nodes see by the same path, of this gateway's account alone. */
      directory: PlainPath,
      /** Where the native programs are on the nodes; `prefix` of the gateway, else `/usr/local`. */
      prefix: Schema20.optional(PlainPath),
      /** Further options of the program that submits, each a word. */
      // eslint-disable-next-line no-control-regex
      options: Schema20.optionalWith(Schema20.Array(Schema20.String.pipe(Schema20.pattern(/^[^\u0000-\u001f]{1,1000}$/, { message: () => "one word of the command line" }))), { default: () => [] }),
      /** Images whose layers are smaller together are converted here. */
      fromBytes: Schema20.optionalWith(Schema20.Int.pipe(Schema20.nonNegative()), { default: () => 0 })
    });
  }
});

// src/core/Site.ts
import { readFileSync as readFileSync2 } from "node:fs";
import { homedir as homedir3 } from "node:os";
import * as nodePath12 from "node:path";
import * as Either13 from "effect/Either";
import * as Schema21 from "effect/Schema";
var SystemName, SystemConfig, limit, VERSION, DAEMON_SOCKET, GatewayConfig, defaultFile, load, decode7, fromConfig, system, conversionSystem, personal;
var init_Site = __esm({
  "src/core/Site.ts"() {
    "use strict";
    init_AbsolutePath();
    init_ChosSettings();
    init_Complaints();
    init_Errors();
    init_ImportSettings();
    init_ImageManager();
    init_Limits();
    init_Registries();
    init_ServiceConfig();
    init_SshSettings();
    init_Verify();
    init_VmSettings();
    init_WlmSettings();
    SystemName = Schema21.String.pipe(Schema21.pattern(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, { message: () => "a name of letters, digits, '_', '.' and '-'" }));
    SystemConfig = Schema21.Struct({
      imagePath: AbsolutePath,
      publicMode: Schema21.optionalWith(Schema21.Literal("0600", "0644"), { default: () => "0600" }),
      ...SystemService,
      ssh: Schema21.optional(SshSettings),
      slurm: Schema21.optional(SlurmSettings)
    });
    limit = Schema21.Int.pipe(Schema21.positive());
    VERSION = 1;
    DAEMON_SOCKET = "/var/run/docker.sock";
    GatewayConfig = Schema21.Struct({
      version: Schema21.Literal(VERSION),
      stateDirectory: AbsolutePath,
      systems: Schema21.Record({ key: SystemName, value: SystemConfig }).pipe(Schema21.filter((s) => Object.keys(s).length > 0 || "at least one system")),
      defaultSystem: Schema21.optional(SystemName),
      registries: Schema21.optionalWith(Registries, { default: () => ({}) }),
      network: Schema21.optionalWith(Network, { default: () => defaultNetwork }),
      cache: Schema21.optionalWith(Cache, { default: () => defaultCache }),
      proxy: Schema21.optional(Proxy2),
      dockerLogins: Schema21.optional(Schema21.Union(AbsolutePath, Schema21.Literal(false))),
      prefix: Schema21.optional(AbsolutePath),
      dockerDaemon: Schema21.optionalWith(
        Schema21.Struct({
          socket: Schema21.optionalWith(AbsolutePath, { default: () => DAEMON_SOCKET }),
          pulls: Schema21.optionalWith(Schema21.Array(Schema21.String), { default: () => [] })
        }),
        { default: () => ({ socket: DAEMON_SOCKET, pulls: [] }) }
      ),
      defaultImageType: Schema21.optionalWith(Schema21.Literal("docker", "custom", "id"), { default: () => "docker" }),
      import: Schema21.optionalWith(Import, { default: () => defaultImport }),
      chos: Schema21.optionalWith(Chos, { default: () => defaultChos }),
      vm: Schema21.optionalWith(Vm, { default: () => defaultVm }),
      readBack: Schema21.optionalWith(Verify, { default: () => "sampled" }),
      server: Schema21.optionalWith(Server, { default: () => defaultServer }),
      pulls: Schema21.optionalWith(PullPolicy, { default: () => defaultPullPolicy }),
      lifetime: Schema21.optionalWith(Lifetime, { default: () => defaultLifetime }),
      dialect: Schema21.optionalWith(Dialect, { default: () => defaultDialect }),
      postgres: Schema21.optional(Postgres),
      conversions: Schema21.optional(Conversions),
      limits: Schema21.optionalWith(
        Schema21.Struct({
          layers: Schema21.optional(limit.pipe(Schema21.lessThanOrEqualTo(4e3))),
          manifestBytes: Schema21.optional(limit),
          configBytes: Schema21.optional(limit),
          blobBytes: Schema21.optional(limit),
          inflatedBytes: Schema21.optional(limit),
          ratio: Schema21.optional(limit),
          entries: Schema21.optional(limit),
          directoryEntries: Schema21.optional(limit),
          depth: Schema21.optional(limit.pipe(Schema21.lessThanOrEqualTo(4096))),
          nameBytes: Schema21.optional(limit.pipe(Schema21.lessThanOrEqualTo(4095)))
        }),
        { default: () => ({}) }
      )
    });
    defaultFile = "/etc/shifter/gateway.json";
    load = (file) => {
      const path3 = file ?? defaultFile;
      let text5;
      try {
        text5 = readFileSync2(path3, "utf8");
      } catch (error) {
        if (file === void 0 && systemCode(error) === "ENOENT") return Either13.right(personal());
        return Either13.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${path3} can't be read: ${messageOf(error)}`, { remedy: "Name a readable file.", cause: error })));
      }
      let json;
      try {
        json = JSON.parse(text5);
      } catch (error) {
        return Either13.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${path3} is no JSON: ${messageOf(error)}`)));
      }
      return decode7(json, path3);
    };
    decode7 = (config, source) => {
      const refused7 = (what) => new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? "given"} ${what}`));
      if (isOne(config)) {
        return Either13.flatMap(
          Either13.mapLeft(convert(config), (mistakes) => refused7(`is not valid: ${mistakes.join("; ")}`)),
          ({ config: own4, warnings: warnings2 }) => Either13.map(decode7(own4, source), (site) => ({ ...site, warnings: warnings2 }))
        );
      }
      const version3 = typeof config === "object" && config !== null && "version" in config ? config.version : void 0;
      if (typeof version3 === "number" && version3 > VERSION) {
        return Either13.left(
          new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? "given"} has version ${version3}, which is newer; up to ${VERSION} is understood`, { remedy: "Update this program." }))
        );
      }
      return Either13.flatMap(
        Either13.mapLeft(
          Schema21.decodeUnknownEither(GatewayConfig, { onExcessProperty: "error", errors: "all" })(config),
          (error) => refused7(`is not valid: ${complaints(error).join("; ")}`)
        ),
        (decoded) => fromConfig(decoded, source)
      );
    };
    fromConfig = (config, source) => {
      const names2 = Object.keys(config.systems);
      const defaultSystem = config.defaultSystem ?? (names2.length === 1 ? names2[0] : void 0);
      if (defaultSystem === void 0 || !Object.hasOwn(config.systems, defaultSystem)) {
        return Either13.left(
          new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? ""} names no "defaultSystem" that is one of its systems (${names2.join(", ")})`))
        );
      }
      const converts = config.conversions?.system;
      if (converts !== void 0 && !Object.hasOwn(config.systems, converts)) {
        return Either13.left(new FormatError(errorFields("CONFIG_INVALID", `The configuration ${source ?? ""} names "${converts}" as conversions.system, which is none of its systems (${names2.join(", ")})`)));
      }
      const limits2 = { ...defaultPullLimits };
      for (const key of Object.keys(limits2)) limits2[key] = config.limits[key] ?? limits2[key];
      return Either13.right({
        stateDirectory: config.stateDirectory,
        isPersonal: false,
        prefix: config.prefix,
        systems: new Map(Object.entries(config.systems).map(([name, system2]) => [name, { name, isPersonal: false, ssh: void 0, slurm: void 0, ...system2 }])),
        defaultSystem,
        defaultImageType: config.defaultImageType,
        readBack: config.readBack,
        import: config.import,
        chos: config.chos,
        vm: config.vm,
        limits: limits2,
        dockerDaemon: { socket: config.dockerDaemon.socket, pulls: new Set(config.dockerDaemon.pulls) },
        registry: (host2) => settings(config.registries, host2),
        network: config.network,
        cache: config.cache,
        proxy: config.proxy ?? environmentProxy(process.env),
        dockerLogins: config.dockerLogins === false ? void 0 : config.dockerLogins ?? dockerDirectory(process.env),
        server: config.server,
        pulls: config.pulls,
        lifetime: config.lifetime,
        dialect: config.dialect,
        postgres: config.postgres,
        conversions: config.conversions,
        warnings: [],
        source
      });
    };
    system = (site, name) => {
      const found = site.systems.get(name ?? site.defaultSystem);
      return found === void 0 ? Either13.left(new FormatError(errorFields("SYSTEM_UNKNOWN", `There is no system "${name}", only ${[...site.systems.keys()].join(", ")}`))) : Either13.right(found);
    };
    conversionSystem = (site, conversions) => Either13.getOrThrow(system(site, conversions.system));
    personal = () => {
      const directory3 = (variable, fallback) => {
        const value9 = process.env[variable];
        return nodePath12.join(value9 !== void 0 && value9.startsWith("/") ? value9 : nodePath12.join(homedir3(), fallback), "shifter");
      };
      return {
        stateDirectory: directory3("XDG_STATE_HOME", ".local/state"),
        isPersonal: true,
        prefix: void 0,
        systems: /* @__PURE__ */ new Map([["personal", { name: "personal", imagePath: nodePath12.join(directory3("XDG_DATA_HOME", ".local/share"), "images"), publicMode: "0600", admins: [], munge: "", isPersonal: true, ssh: void 0, slurm: void 0 }]]),
        defaultSystem: "personal",
        defaultImageType: "docker",
        readBack: "sampled",
        import: defaultImport,
        chos: defaultChos,
        vm: defaultVm,
        limits: defaultPullLimits,
        dockerDaemon: { socket: DAEMON_SOCKET, pulls: /* @__PURE__ */ new Set() },
        registry: (host2) => settings({}, host2),
        network: defaultNetwork,
        cache: defaultCache,
        proxy: environmentProxy(process.env),
        dockerLogins: dockerDirectory(process.env),
        server: defaultServer,
        pulls: defaultPullPolicy,
        lifetime: defaultLifetime,
        dialect: defaultDialect,
        postgres: void 0,
        conversions: void 0,
        warnings: [],
        source: void 0
      };
    };
  }
});

// src/core/Catalog.ts
import * as Context3 from "effect/Context";
var Catalog, leaseMillis, renewMillis, fetchMillis, retryMillis;
var init_Catalog = __esm({
  "src/core/Catalog.ts"() {
    "use strict";
    Catalog = class extends Context3.Tag("shifter-sdk/Catalog")() {
    };
    leaseMillis = 6e3;
    renewMillis = 1500;
    fetchMillis = 10 * 60 * 1e3;
    retryMillis = 24 * 3600 * 1e3;
  }
});

// src/core/Export.ts
import { createHash as createHash9, randomBytes as randomBytes5 } from "node:crypto";
import { constants as constants4, copyFile, mkdir as mkdir2, open as open10, rename as rename5, rm as rm7, writeFile as writeFile2 } from "node:fs/promises";
import * as nodePath13 from "node:path";
import * as Effect24 from "effect/Effect";
import * as Schema23 from "effect/Schema";
var ExportFormat, write2, attempts, tar, layout, described;
var init_Export = __esm({
  "src/core/Export.ts"() {
    "use strict";
    init_Errors();
    init_Process();
    ExportFormat = Schema23.Literal("squashfs", "tar", "oci");
    write2 = (image2, record, format2, target2) => Effect24.scoped(
      Effect24.gen(function* () {
        const attempt = attempts(target2);
        const there = yield* attempt(() => open10(target2, "r").then((handle) => handle.close().then(() => true), (error) => systemCode(error) !== "ENOENT"));
        if (there) return yield* new GatewayError(errorFields("EXPORT_FAILED", `${target2} exists already`, { remedy: "Name a file that does not exist." }));
        const temporary = `${target2}.${randomBytes5(6).toString("hex")}.part`;
        yield* Effect24.addFinalizer(() => Effect24.promise(() => rm7(temporary, { recursive: true, force: true }).catch(() => void 0)));
        switch (format2) {
          case "squashfs":
            yield* attempt(() => copyFile(image2, temporary, constants4.COPYFILE_EXCL | constants4.COPYFILE_FICLONE));
            break;
          case "tar":
            yield* Effect24.asVoid(tar(image2, temporary, target2, record));
            break;
          case "oci":
            yield* layout(image2, record, temporary, target2);
        }
        yield* attempt(() => rename5(temporary, target2));
      })
    );
    attempts = (target2) => (f) => Effect24.tryPromise({
      try: f,
      catch: (error) => new GatewayError(errorFields(storageCode(error, "EXPORT_FAILED"), `${target2} can't be written: ${messageOf(error)}`, { cause: error }))
    });
    tar = (image2, file, target2, record) => Effect24.gen(function* () {
      const out = yield* Effect24.acquireRelease(attempts(target2)(() => open10(file, "wx+", record.access === "private" ? 384 : 420)), (handle) => Effect24.promise(() => handle.close()));
      const process2 = yield* scoped2("sqfs2tar", ["--root-becomes", ".", image2], { stdin: "ignore", stdout: out.fd }).pipe(
        Effect24.mapError((fault2) => new GatewayError(errorFields("TOOL_MISSING", `The image can't be read: ${fault2.message}`, { remedy: "Install the package squashfs-tools-ng.", cause: fault2 })))
      );
      const exit2 = yield* Effect24.promise(() => process2.exit);
      if (exit2.status !== 0) {
        const full = /no space left|disk quota/i.test(exit2.stderr);
        return yield* new GatewayError(errorFields(full ? "STORAGE_FULL" : "EXPORT_FAILED", `sqfs2tar ended with status ${exit2.status}: ${printable(exit2.stderr || "it said nothing")}`));
      }
      return out;
    });
    layout = (image2, record, directory3, target2) => Effect24.gen(function* () {
      const attempt = attempts(target2);
      const blobs = nodePath13.join(directory3, "blobs/sha256");
      yield* attempt(() => mkdir2(directory3, { mode: record.access === "private" ? 448 : 493 }).then(() => mkdir2(blobs, { recursive: true })));
      const archive = yield* tar(image2, nodePath13.join(blobs, "layer"), target2, record);
      const layer13 = yield* attempt(() => described(archive));
      yield* attempt(() => rename5(nodePath13.join(blobs, "layer"), nodePath13.join(blobs, layer13.digest.slice(7))));
      const document = (mediaType2, value9) => attempt(async () => {
        const bytes2 = Buffer.from(JSON.stringify(value9));
        const digits = createHash9("sha256").update(bytes2).digest("hex");
        await writeFile2(nodePath13.join(blobs, digits), bytes2);
        return { mediaType: mediaType2, digest: `sha256:${digits}`, size: bytes2.length };
      });
      const [os = "", architecture = "", variant] = record.platform.split("/");
      const config = yield* document("application/vnd.oci.image.config.v1+json", {
        created: "1970-01-01T00:00:00Z",
        os,
        architecture,
        ...variant === void 0 ? {} : { variant },
        config: {
          Env: record.env,
          ...record.entrypoint.length === 0 ? {} : { Entrypoint: record.entrypoint },
          ...record.command.length === 0 ? {} : { Cmd: record.command },
          ...record.workdir === void 0 ? {} : { WorkingDir: record.workdir },
          Labels: Object.fromEntries(record.labels)
        },
        rootfs: { type: "layers", diff_ids: [layer13.digest] }
      });
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const manifest = yield* document(mediaType, {
        schemaVersion: 2,
        mediaType,
        config,
        layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer13 }]
      });
      const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": "latest" } }] };
      yield* attempt(() => writeFile2(nodePath13.join(directory3, "index.json"), JSON.stringify(index)));
      yield* attempt(() => writeFile2(nodePath13.join(directory3, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" })));
    });
    described = async (archive) => {
      const hash2 = createHash9("sha256");
      const piece = Buffer.allocUnsafeSlow(1024 * 1024);
      let size = 0;
      for (; ; ) {
        const { bytesRead } = await archive.read(piece, 0, piece.length, size);
        if (bytesRead === 0) return { digest: `sha256:${hash2.digest("hex")}`, size };
        hash2.update(piece.subarray(0, bytesRead));
        size += bytesRead;
      }
    };
  }
});

// src/core/Checked.ts
import * as Either15 from "effect/Either";
import * as ParseResult3 from "effect/ParseResult";
import * as Schema24 from "effect/Schema";
var checked;
var init_Checked = __esm({
  "src/core/Checked.ts"() {
    "use strict";
    init_Errors();
    checked = (schema, value9) => Either15.mapLeft(Schema24.decodeUnknownEither(schema, { errors: "all" })(value9), (error) => {
      const [first] = ParseResult3.ArrayFormatter.formatErrorSync(error);
      const field = first?.path.map(String).join(".") ?? "";
      return new GatewayError(errorFields("USAGE", `${field === "" ? "The request" : `"${field}"`} is not valid: ${first?.message ?? ""}`, { remedy: "Correct the call." }));
    });
  }
});

// src/core/Download.ts
import { readFileSync as readFileSync4 } from "node:fs";
import * as HttpClient6 from "@effect/platform/HttpClient";
import * as HttpClientRequest2 from "@effect/platform/HttpClientRequest";
import * as Clock4 from "effect/Clock";
import * as Effect25 from "effect/Effect";
import * as Stream7 from "effect/Stream";
var download, MAX_REDIRECTS2, redirects2, momentary2, refused3, allowed, authority, asked, storing2, Transfer;
var init_Download = __esm({
  "src/core/Download.ts"() {
    "use strict";
    init_BlobFile();
    init_Digest();
    init_Errors();
    init_EntityTag();
    init_Patience();
    init_Reach();
    download = (text5, options2) => Effect25.gen(function* () {
      const { settings: settings4 } = options2;
      if (!settings4.urls) {
        return yield* new GatewayError(errorFields("URL_REFUSED", "This site imports nothing from URLs", { remedy: 'Upload the file. The administrator can set "import.urls".' }));
      }
      const url = yield* allowed(URL.canParse(text5) ? new URL(text5) : void 0, "The URL");
      const ca = yield* authority(settings4);
      const http = yield* HttpClient6.HttpClient;
      return yield* Effect25.scoped(
        Effect25.gen(function* () {
          const out = yield* Effect25.acquireRelease(
            storing2(options2.file, () => BlobFile.open(options2.file)),
            (opened8) => Effect25.promise(() => opened8.close().catch(() => void 0))
          );
          return yield* new Transfer(http, url, ca, out, options2).run;
        })
      );
    });
    MAX_REDIRECTS2 = 5;
    redirects2 = /* @__PURE__ */ new Set([301, 302, 303, 307, 308]);
    momentary2 = /* @__PURE__ */ new Set([408, 429, 500, 502, 503, 504]);
    refused3 = (what) => new GatewayError(errorFields("URL_REFUSED", what));
    allowed = (url, what) => {
      if (url === void 0) return Effect25.fail(refused3(`${what} is none`));
      if (url.protocol !== "https:") return Effect25.fail(refused3(`${what} is of ${printable(url.protocol)}, not of https:`));
      if (url.username !== "" || url.password !== "") return Effect25.fail(refused3(`${what} holds a login, which logs would show`));
      return Effect25.succeed(url);
    };
    authority = ({ urlCa }) => urlCa === void 0 ? Effect25.succeed(void 0) : Effect25.try({
      try: () => readFileSync4(urlCa, "utf8"),
      catch: (error) => new GatewayError(errorFields("CONFIG_INVALID", `The certificate file ${urlCa} can't be read: ${messageOf(error)}`, { cause: error }))
    });
    asked = {
      who: "The URL's host",
      refused: "URL_REFUSED",
      timeout: "URL_FAILED",
      unreachable: "URL_FAILED",
      remedies: (host2) => ({
        refused: `Upload the file. If it should, the administrator can name "${host2}" in "import.urlHosts".`,
        notSecure: "It must speak https.",
        unknownAuthority: 'If its certificate is of a private authority, the administrator can name that in "import.urlCa".'
      })
    };
    storing2 = (file, f) => Effect25.tryPromise({
      try: f,
      catch: (error) => error instanceof ImageError ? error : new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be written: ${messageOf(error)}`, { cause: error }))
    });
    Transfer = class {
      constructor(http, url, ca, out, options2) {
        this.http = http;
        this.url = url;
        this.ca = ca;
        this.out = out;
        this.options = options2;
      }
      http;
      url;
      ca;
      out;
      options;
      received = 0;
      bytes;
      /** Strong entity tag of what is here, without which nothing is joined to it. */
      etag;
      get run() {
        return Effect25.gen(this, function* () {
          const { file, sha256: sha2562 } = this.options;
          yield* patiently(Effect25.scoped(this.attempt), { progress: () => this.received });
          const actual = yield* storing2(file, () => this.out.finish(this.received));
          if (sha2562 !== void 0 && sha2562 !== actual) {
            return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The file of ${this.url.host} has sha256:${actual}, not sha256:${sha2562}`, { remedy: "Check the URL and the hash." }));
          }
          return { path: file, bytes: this.received, digest: Digest.make(`sha256:${actual}`) };
        });
      }
      failed(what, code = "URL_FAILED") {
        return new ImageError(errorFields(code, `${this.url.host} ${what}`));
      }
      get attempt() {
        return Effect25.gen(this, function* () {
          if (this.received > 0 && this.etag === void 0) yield* this.anew;
          const from = this.received;
          const answer = yield* this.follow(this.url, from > 0 && this.etag !== void 0 ? { range: `bytes=${from}-`, "if-range": this.etag } : {});
          const { headers, status } = answer;
          const encoding = headers["content-encoding"] ?? "identity";
          if (encoding !== "identity") return yield* this.failed(`sent the file with Content-Encoding "${printable(encoding)}"`);
          if (status === 206) {
            const [, start2, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers["content-range"] ?? "") ?? [];
            if (from === 0 || Number(start2) !== from || total !== "*" && Number(total) !== this.bytes || headers["etag"] !== void 0 && headers["etag"] !== this.etag) {
              yield* this.anew;
              return yield* new Passing({ error: this.failed("gave another part of the file than it was asked for") });
            }
          } else {
            if (from > 0) yield* this.anew;
            this.etag = strong(headers["etag"]);
            this.bytes = /^\d{1,15}$/.test(headers["content-length"] ?? "") ? Number(headers["content-length"]) : void 0;
            if (this.bytes !== void 0 && this.bytes > this.options.settings.uploadBytes) return yield* this.tooLarge(this.bytes);
          }
          yield* this.take(answer);
          if (this.bytes !== void 0 && this.received < this.bytes) {
            return yield* new Passing({ error: this.failed(`ended after ${this.received} of ${this.bytes} bytes`) });
          }
        });
      }
      tooLarge(bytes2) {
        const { uploadBytes } = this.options.settings;
        return this.failed(`has a file of ${bytes2 === void 0 ? "" : `${bytes2} bytes, `}more than ${uploadBytes}${bytes2 === void 0 ? " bytes" : ""}`, "LIMIT_EXCEEDED");
      }
      /** Forgets what is here. */
      get anew() {
        return Effect25.map(storing2(this.options.file, () => this.out.restart()), () => {
          this.received = 0;
          this.etag = void 0;
          this.bytes = void 0;
        });
      }
      send(url, headers) {
        const isNamed2 = this.options.settings.urlHosts.includes(url.host);
        return this.http.execute(HttpClientRequest2.get(url.href, { headers: { ...headers, accept: "*/*", "user-agent": "shifter-sdk", "accept-encoding": "identity" } })).pipe(
          Effect25.provideService(Reach, { kinds: isNamed2 ? "any" : [], ca: isNamed2 ? this.ca : void 0 }),
          Effect25.mapError((error) => transportFailure(url, error, void 0, asked))
        );
      }
      follow(url, headers, hops = 0) {
        return Effect25.gen(this, function* () {
          const answer = yield* this.send(url, headers);
          if (answer.status === 200 || answer.status === 206) return answer;
          if (redirects2.has(answer.status)) {
            if (hops >= MAX_REDIRECTS2) return yield* refused3(`${this.url.host} redirects more than ${MAX_REDIRECTS2} times`);
            const location = answer.headers["location"];
            const target2 = location !== void 0 && URL.canParse(location, url.href) ? new URL(location, url) : void 0;
            return yield* this.follow(yield* allowed(target2, `What ${url.host} redirects to`), headers, hops + 1);
          }
          const error = this.failed(url.host === this.url.host ? `answered with HTTP ${answer.status}` : `redirects to ${url.host}, which answered with HTTP ${answer.status}`);
          if (!momentary2.has(answer.status)) return yield* error;
          return yield* new Passing({ error, afterMillis: retryAfter(answer.headers["retry-after"], yield* Clock4.currentTimeMillis) });
        });
      }
      take(answer) {
        const { file, onBytes, settings: settings4 } = this.options;
        return Effect25.gen(this, function* () {
          yield* storing2(file, () => this.out.follow(this.received));
          const writer = this.out.writer(this.received);
          const receive = async (chunks) => {
            for (const chunk of chunks) {
              if (this.received + chunk.length > settings4.uploadBytes) throw this.tooLarge();
              await writer.write(chunk);
              this.received += chunk.length;
            }
            onBytes(this.received, this.bytes);
          };
          yield* answer.stream.pipe(
            Stream7.mapError((error) => transportFailure(this.url, error, `${this.url.host} broke off`, asked)),
            Stream7.runForEachChunk((chunks) => Effect25.uninterruptible(storing2(file, () => receive(chunks)))),
            // What has come is kept, however it ended.
            Effect25.ensuring(Effect25.promise(() => writer.flush().catch(() => void 0)))
          );
          yield* storing2(file, () => writer.flush());
        });
      }
    };
  }
});

// src/core/GivenPath.ts
import { constants as constants5 } from "node:fs";
import { open as open11 } from "node:fs/promises";
import * as Effect26 from "effect/Effect";
var copy, unavailable, placeOf, componentsOf, own;
var init_GivenPath = __esm({
  "src/core/GivenPath.ts"() {
    "use strict";
    init_Digest();
    init_Errors();
    init_Filter();
    copy = (path3, named, options2) => Effect26.scoped(
      Effect26.gen(function* () {
        const place3 = named === void 0 ? void 0 : yield* placeOf(path3, named);
        const input = place3 === void 0 ? (yield* own(path3)).fd : "ignore";
        const out = yield* Effect26.acquireRelease(
          Effect26.tryPromise({
            try: () => open11(options2.file, "w", 384),
            catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${options2.file} can't be written: ${messageOf(error)}`, { cause: error }))
          }),
          (handle) => Effect26.promise(() => handle.close())
        );
        const said4 = yield* run({
          name: "shifter-open",
          program: options2.program,
          args: ["--most", String(options2.most), ...place3 === void 0 || named === void 0 ? [] : ["--root", place3.root, "--owner", String(named.owner), "--", place3.below]],
          stdin: input,
          stdout: out.fd,
          purpose: "The file can't be read",
          worded: (code, what) => code === "FILE_UNAVAILABLE" && named !== void 0 ? unavailable(path3, named.owner) : errorFields(code, `The file ${path3}${code === "STORAGE_FULL" ? `, copied to ${options2.file}` : ""}: ${what}`)
        });
        const [, bytes2 = "", hash2 = ""] = /^done (\d+) ([0-9a-f]{64})$/.exec(said4) ?? [];
        if (hash2 === "") return yield* new GatewayError(errorFields("INTERNAL", `shifter-open ended without its last word: ${said4}`));
        return { path: options2.file, bytes: Number(bytes2), digest: Digest.make(`sha256:${hash2}`) };
      })
    );
    unavailable = (path3, owner) => errorFields("FILE_UNAVAILABLE", `There is no regular file of uid ${owner} at ${path3} that this site imports`);
    placeOf = (path3, { owner, roots }) => {
      const parts = componentsOf(path3);
      if (!path3.startsWith("/") || path3.includes("\0") || parts.includes("..")) return Effect26.fail(new GatewayError(unavailable(path3, owner)));
      const [root] = roots.map((text5) => ({ text: text5, parts: componentsOf(text5) })).filter((each) => each.parts.length < parts.length && each.parts.every((part, i) => part === parts[i])).sort((a, b) => b.parts.length - a.parts.length);
      return root === void 0 ? Effect26.fail(new GatewayError(unavailable(path3, owner))) : Effect26.succeed({ root: `/${root.parts.join("/")}`, below: parts.slice(root.parts.length).join("/") });
    };
    componentsOf = (path3) => path3.split("/").filter((part) => part !== "" && part !== ".");
    own = (path3) => Effect26.acquireRelease(
      Effect26.tryPromise({
        try: () => open11(path3, constants5.O_RDONLY | constants5.O_NONBLOCK | constants5.O_NOCTTY),
        catch: (error) => new GatewayError(errorFields("FILE_UNAVAILABLE", `The file ${path3} can't be opened: ${messageOf(error)}`, { cause: error, remedy: "Name a file that this account can read." }))
      }),
      (handle) => Effect26.promise(() => handle.close())
    );
  }
});

// src/core/Image.ts
import * as Context4 from "effect/Context";
import * as Effect27 from "effect/Effect";
import * as Layer2 from "effect/Layer";
var Image, layer2;
var init_Image = __esm({
  "src/core/Image.ts"() {
    "use strict";
    init_Errors();
    Image = class extends Context4.Tag("shifter-sdk/Image")() {
    };
    layer2 = (sources) => Layer2.succeed(
      Image,
      Image.of({
        importable: (ref) => {
          const refusesImport2 = sources.find((each) => each.types.includes(ref.type))?.refusesImport;
          const name = `${ref.type}:${ref.reference}`;
          const refusal5 = refusesImport2 === void 0 ? { what: `An import can't be named ${name}`, remedy: "Name it custom:NAME[:TAG]." } : refusesImport2(ref);
          return refusal5 === void 0 ? Effect27.void : Effect27.fail(new ImageError(errorFields("REFERENCE_INVALID", refusal5.what, { remedy: refusal5.remedy })));
        },
        resolve: (ref, options2) => {
          const source = sources.find((each) => each.types.includes(ref.type));
          const types = [...new Set(sources.flatMap((each) => each.types))].join(", ");
          return source === void 0 ? Effect27.fail(new ImageError(errorFields("SOURCE_UNSUPPORTED", `Images of type "${ref.type}" can't be pulled here, only ${types}`))) : source.resolve(ref, options2);
        }
      })
    );
  }
});

// src/core/Executor.ts
import * as Context5 from "effect/Context";
import * as Effect28 from "effect/Effect";
import * as Layer3 from "effect/Layer";
var Executor, layerAtOnce, layerHere;
var init_Executor = __esm({
  "src/core/Executor.ts"() {
    "use strict";
    Executor = class extends Context5.Tag("shifter-sdk/Executor")() {
    };
    layerAtOnce = Layer3.succeed(Executor, Executor.of({ convert: ({ here: here2 }) => here2 }));
    layerHere = (places) => Layer3.effect(
      Executor,
      Effect28.map(Effect28.makeSemaphore(places), (slots) => Executor.of({ convert: ({ fetched: fetched2, here: here2 }) => Effect28.zipRight(fetched2, slots.withPermits(1)(here2)) }))
    );
  }
});

// src/core/ImageIndex.ts
import * as Context6 from "effect/Context";
var ImageIndex;
var init_ImageIndex = __esm({
  "src/core/ImageIndex.ts"() {
    "use strict";
    ImageIndex = class extends Context6.Tag("shifter-sdk/ImageIndex")() {
    };
  }
});

// src/core/Transport.ts
import * as Context7 from "effect/Context";
var Transport;
var init_Transport = __esm({
  "src/core/Transport.ts"() {
    "use strict";
    Transport = class extends Context7.Tag("shifter-sdk/Transport")() {
    };
  }
});

// src/core/Indexed.ts
import * as Cause from "effect/Cause";
import * as Duration from "effect/Duration";
import * as Effect29 from "effect/Effect";
var PATIENCE, expiryOf, indexed, isWithin;
var init_Indexed = __esm({
  "src/core/Indexed.ts"() {
    "use strict";
    init_Errors();
    init_Transport();
    PATIENCE = Duration.seconds(5);
    expiryOf = ({ lifetime: { imageSeconds } }) => ({ expiresIn: imageSeconds === 0 ? void 0 : imageSeconds * 1e3 });
    indexed = (transport2, index, options2 = {}) => {
      const kept = (what, work) => work.pipe(
        Effect29.disconnect,
        Effect29.timeout(PATIENCE),
        Effect29.catchAllCause((cause) => Effect29.logWarning(`The index of images does not know that ${what}; the next reconciliation mends it: ${messageOf(Cause.squash(cause))}`)),
        Effect29.uninterruptible
      );
      return Transport.of({
        ...transport2,
        publish: (system2, staging, record, fence) => Effect29.uninterruptibleMask(
          (restore) => Effect29.zipRight(
            restore(transport2.publish(system2, staging, record, fence)),
            kept(
              `${record.id} was published for ${system2.name}`,
              index.put(system2.name, record).pipe(
                Effect29.zipRight(index.name(system2.name, { reference: record.reference, id: record.id })),
                Effect29.zipRight(index.touch(system2.name, record.id, options2.expiresIn)),
                // What is published was read back.
                Effect29.zipRight(index.scrubbed(system2.name, record.id, void 0))
              )
            )
          )
        ),
        name: (system2, name, token) => Effect29.uninterruptibleMask(
          (restore) => Effect29.zipRight(
            restore(transport2.name(system2, name, token)),
            kept(
              `${name.reference} points to ${name.id} on ${system2.name}`,
              Effect29.zipRight(index.name(system2.name, name), index.touch(system2.name, name.id, options2.expiresIn))
            )
          )
        ),
        setAccess: (system2, id, token, change) => Effect29.uninterruptibleMask(
          (restore) => Effect29.gen(function* () {
            const published = yield* restore(transport2.record(system2, id));
            const isNarrowed = published !== void 0 && !isWithin(published, change(published));
            if (isNarrowed) yield* restore(Effect29.mapError(index.conceal(system2.name, id), (error) => new TransportError(carried(error))));
            const told8 = (record) => kept(`the access to ${id} on ${system2.name} changed`, index.put(system2.name, record));
            return yield* restore(transport2.setAccess(system2, id, token, change)).pipe(
              Effect29.tap(told8),
              Effect29.onError(() => isNarrowed ? Effect29.ignore(Effect29.flatMap(transport2.record(system2, id), (record) => record === void 0 ? Effect29.void : told8(record))) : Effect29.void)
            );
          })
        ),
        unname: (system2, canonical) => Effect29.uninterruptibleMask(
          (restore) => Effect29.tap(restore(transport2.unname(system2, canonical)), () => kept(`${canonical} was removed from ${system2.name}`, index.unname(system2.name, canonical)))
        ),
        remove: (system2, id) => Effect29.uninterruptibleMask(
          (restore) => Effect29.tap(restore(transport2.remove(system2, id)), () => kept(`${id} was removed from ${system2.name}`, index.remove(system2.name, id)))
        )
      });
    };
    isWithin = (before, after) => after.access === "public" || before.access === "private" && [before.owner, ...before.allowUids].every((uid) => uid === after.owner || after.allowUids.includes(uid)) && before.allowGids.every((gid) => after.allowGids.includes(gid));
  }
});

// src/core/Meta.ts
import * as Either16 from "effect/Either";
var encode3;
var init_Meta = __esm({
  "src/core/Meta.ts"() {
    "use strict";
    encode3 = (metadata, access2) => {
      const omitted = [];
      const lines2 = ["FORMAT: squashfs"];
      const isSingleLine = (text5) => !/[\n\r]|\p{Surrogate}/u.test(text5);
      const list4 = (key, what, words) => {
        if (words.length === 0) return;
        if (words.every((word2) => isSingleLine(word2) && !/['\\]/.test(word2))) lines2.push(`${key}: [${words.map((word2) => `'${word2}'`).join(", ")}]`);
        else omitted.push(`the ${what} (it holds a quote, a backslash, a line break or a byte that is not UTF-8)`);
      };
      list4("ENTRY", "entry point", metadata.entrypoint);
      list4("CMD", "command", metadata.command);
      if (metadata.workdir !== void 0) {
        if (isSingleLine(metadata.workdir)) lines2.push(`WORKDIR: ${metadata.workdir}`);
        else omitted.push("the working directory (it holds a line break or a byte that is not UTF-8)");
      }
      if (access2.access === "private") {
        lines2.push(`USERACL: ${[.../* @__PURE__ */ new Set([access2.owner, ...access2.allowUids])].join(",")}`, `GROUPACL: ${access2.allowGids.join(",")}`);
      }
      for (const entry of metadata.env) {
        if (isSingleLine(entry) && !entry.endsWith("=")) lines2.push(`ENV: ${entry}`);
        else omitted.push(`the variable ${entry.slice(0, entry.indexOf("="))} (${entry.endsWith("=") ? "it is empty" : "it holds a line break or a byte that is not UTF-8"})`);
      }
      return { text: `${lines2.join("\n")}
`, omitted };
    };
  }
});

// src/core/Packer.ts
import { open as open12 } from "node:fs/promises";
import { availableParallelism } from "node:os";
import * as nodePath14 from "node:path";
import * as Context8 from "effect/Context";
import * as Effect30 from "effect/Effect";
import * as Layer4 from "effect/Layer";
import * as Option4 from "effect/Option";
var Packer, LEVEL, BLOCK_SIZE, tar2sqfsArguments, tar2sqfsEnvironment, layerTar2sqfs, oldestVersion, faults, unsuitable, isBelow, missing, version, pack, packerFault;
var init_Packer = __esm({
  "src/core/Packer.ts"() {
    "use strict";
    init_Disk();
    init_Errors();
    init_Process();
    init_RootfsStream();
    Packer = class extends Context8.Tag("shifter-sdk/Packer")() {
    };
    LEVEL = 3;
    BLOCK_SIZE = 131072;
    tar2sqfsArguments = ["--quiet", "--force", "--no-skip", "--compressor", "zstd", "--comp-extra", `level=${LEVEL}`, "--block-size", String(BLOCK_SIZE)];
    tar2sqfsEnvironment = { SOURCE_DATE_EPOCH: "0" };
    layerTar2sqfs = Layer4.effect(
      Packer,
      Effect30.gen(function* () {
        const profile = yield* Effect30.cached(version);
        return Packer.of({
          profile,
          pack: (write4, options2) => Effect30.scoped(pack(write4, options2))
        });
      })
    );
    oldestVersion = "1.2.0";
    faults = [
      { below: "1.0.4", why: "takes different blocks of files for the same when their checksums are" },
      { below: "1.1.3", why: "writes directory sizes that other readers refuse (its issue 85), and no files above 4 GiB (87)" },
      { below: oldestVersion, why: "fails with ordinary files (its issue 110) and with many hard links to one (123)" }
    ];
    unsuitable = (version3) => faults.find(({ below }) => isBelow(version3, below))?.why;
    isBelow = (version3, other) => {
      const [a, b] = [version3, other].map((text5) => text5.split(".").map(Number));
      const at = [0, 1, 2].find((i) => (a[i] ?? 0) !== (b[i] ?? 0));
      return at !== void 0 && (a[at] ?? 0) < (b[at] ?? 0);
    };
    missing = (fault2) => new PackerError(errorFields("TOOL_MISSING", `The image can't be packed: ${fault2.message}`, { remedy: "Install the package squashfs-tools-ng.", cause: fault2 }));
    version = Effect30.gen(function* () {
      const { stdout, status } = yield* output("tar2sqfs", ["--version"]).pipe(Effect30.mapError(missing));
      const found = /\b(\d+\.\d+(?:\.\d+)?)\b/.exec(stdout)?.[1];
      if (status !== 0 || found === void 0) {
        return yield* new PackerError(errorFields("TOOL_FAILED", "tar2sqfs does not tell its version"));
      }
      const why = unsuitable(found);
      if (why !== void 0) {
        return yield* new PackerError(errorFields("TOOL_UNSUITABLE", `tar2sqfs is version ${found}, which ${why}; ${oldestVersion} or later is needed`));
      }
      return { packer: `tar2sqfs ${found}`, compressor: "zstd", level: LEVEL, blockSize: BLOCK_SIZE };
    });
    pack = (write4, { target: target2, scratch }) => Effect30.gen(function* () {
      const pipe2 = yield* pipe(scratch).pipe(
        Effect30.mapError((error) => new PackerError(errorFields(storageCode(error, "STATE_UNUSABLE"), `No pipe can be made in ${scratch}: ${messageOf(error)}`, { cause: error })))
      );
      yield* Effect30.acquireRelease(
        Effect30.tryPromise({
          try: () => open12(target2, "wx", 384),
          catch: (error) => new PackerError(errorFields(storageCode(error, "IMAGE_PATH_UNUSABLE"), `The image can't be written at ${target2}: ${messageOf(error)}`, { cause: error }))
        }),
        (kept) => Effect30.promise(() => kept.close())
      );
      const process2 = yield* scoped2(
        "tar2sqfs",
        [...tar2sqfsArguments, "--num-jobs", String(availableParallelism()), target2],
        { stdin: pipe2.reader.fd, stdout: "ignore" },
        tar2sqfsEnvironment
      ).pipe(Effect30.mapError(missing));
      yield* Effect30.promise(() => pipe2.reader.close());
      const written3 = yield* write4(pipe2.writer.fd).pipe(
        Effect30.asSome,
        Effect30.catchIf((error) => error instanceof OutputEnded, () => Effect30.succeedNone)
      );
      yield* Effect30.promise(() => pipe2.writer.close());
      const exit2 = yield* Effect30.promise(() => process2.exit);
      if (exit2.status === 0 && Option4.isSome(written3)) return written3.value;
      return yield* packerFault(exit2, target2);
    });
    packerFault = ({ status, stderr }, target2) => Effect30.gen(function* () {
      const said4 = printable(stderr.replace(/[\s.]+$/, "") || "it said nothing");
      const full = /no space left|disk quota/i.test(said4) || (yield* isFull(nodePath14.dirname(target2)));
      return yield* new PackerError(errorFields(full ? "STORAGE_FULL" : "TOOL_FAILED", `tar2sqfs ended with status ${status} writing ${target2}: ${said4}`));
    });
  }
});

// src/core/Progress.ts
var phases, careful;
var init_Progress = __esm({
  "src/core/Progress.ts"() {
    "use strict";
    phases = ["resolve", "fetch", "convert", "transfer", "publish"];
    careful = (onProgress) => {
      let receiver = onProgress;
      const leave = () => {
        receiver = void 0;
      };
      return (event) => {
        try {
          const result = receiver?.(event);
          if (result instanceof Promise) result.catch(leave);
        } catch {
          leave();
        }
      };
    };
  }
});

// src/core/Pull.ts
import { open as open13, readdir as readdir2, rm as rm8, stat as stat3 } from "node:fs/promises";
import * as nodePath15 from "node:path";
import * as Cause2 from "effect/Cause";
import * as Deferred2 from "effect/Deferred";
import * as Duration2 from "effect/Duration";
import * as Effect31 from "effect/Effect";
import * as Either17 from "effect/Either";
import * as Exit from "effect/Exit";
import * as Fiber3 from "effect/Fiber";
import * as Option5 from "effect/Option";
import * as Ref4 from "effect/Ref";
import * as Schedule from "effect/Schedule";
import * as Schema25 from "effect/Schema";
import * as Scope from "effect/Scope";
var Checked, parseReference, AWAY, FIRST_LOOK, LAST_LOOK, LOOKS2, pull, imported, accessOf, isSame, warnOfAccess, recordable, leaseLost, heartbeat, outOfReach, ended2, waitFor, reap, scratchLeft, sweep, workOf, scratchOf, blobsOf, partialsOf, removeScratch, evict, workspaceOf, restarted, isRestart, convert2, prove;
var init_Pull = __esm({
  "src/core/Pull.ts"() {
    "use strict";
    init_BlobStore();
    init_Catalog();
    init_Checked();
    init_Disk();
    init_Errors();
    init_Executor();
    init_Image();
    init_ImageId();
    init_ImageRecord();
    init_ImageIndex();
    init_Indexed();
    init_ImageRef();
    init_Meta();
    init_Native();
    init_Packer();
    init_Platform();
    init_Progress();
    init_Site();
    init_Transport();
    init_Verify();
    Checked = Schema25.Struct({
      reference: Schema25.String,
      system: Schema25.optional(Schema25.String),
      platform: Schema25.optional(Schema25.String),
      credentials: Schema25.optional(Schema25.Struct({ username: Schema25.String, password: Schema25.RedactedFromSelf(Schema25.String) })),
      requester: Schema25.optional(Requester),
      allowUids: Schema25.optional(Acl),
      allowGids: Schema25.optional(Acl),
      verify: Schema25.optional(Schema25.Boolean),
      partition: Schema25.optional(Schema25.String)
    });
    parseReference = (text5, defaultType) => Either17.flatMap(
      parse(text5, defaultType),
      (ref) => ref.canonical !== null ? Either17.right(ref) : Either17.try({
        try: () => absolute(ref, process.cwd()),
        catch: (error) => new GatewayError(
          errorFields("REFERENCE_INVALID", `The image reference "${text5}" has no place: the working directory is gone`, { cause: error, remedy: "Write an absolute path." })
        )
      })
    );
    AWAY = Duration2.seconds(3);
    FIRST_LOOK = 150;
    LAST_LOOK = 1e3;
    LOOKS2 = 12;
    pull = (site, request, way) => Effect31.gen(function* () {
      yield* checked(Checked, request);
      const catalog = yield* Catalog;
      const image2 = yield* Image;
      const packer = yield* Packer;
      const transport2 = yield* Transport;
      const onProgress = careful(request.onProgress);
      const system2 = yield* system(site, request.system);
      const ref = yield* parseReference(request.reference, site.defaultImageType);
      const canonical = ref.canonical ?? `${ref.type}:${ref.reference}`;
      const platform = request.platform === void 0 ? host() : yield* parse3(request.platform);
      const requester = request.requester ?? { uid: process.getuid?.() ?? 0, gids: [process.getegid?.() ?? 0, ...process.getgroups?.() ?? []] };
      yield* transport2.ready(system2);
      const reaped = yield* reap(site);
      const row = yield* Effect31.acquireRelease(
        catalog.begin({ system: system2.name, reference: canonical, requester: requester.uid }),
        (pulled2, exit2) => Effect31.ignore(ended2(catalog, pulled2, exit2))
      );
      const lost = yield* heartbeat(row);
      const enter = (phase) => Effect31.flatMap(catalog.enter(row, phase), (held) => {
        if (!held) return Effect31.fail(leaseLost);
        onProgress({ _tag: "Phase", phase });
        return Effect31.void;
      });
      const work = Effect31.gen(function* () {
        const profile = yield* packer.profile;
        onProgress({ _tag: "Phase", phase: "resolve" });
        const workspace = yield* workspaceOf(site, row);
        const readable2 = (effect7) => Effect31.catchIf(effect7, (error) => error.code === "RECORD_INVALID", () => Effect31.succeed(void 0));
        const pointed = readable2(transport2.lookup(system2, canonical));
        const renaming = Effect31.gen(function* () {
          const current = way === void 0 ? void 0 : yield* pointed;
          const there = current === void 0 ? void 0 : yield* readable2(transport2.record(system2, current));
          if (way !== void 0 && there !== void 0) yield* way.mayRename(there);
        });
        yield* renaming;
        const options2 = { platform, credentials: request.credentials, limits: site.limits, onProgress, workspace, partition: request.partition };
        const found = yield* (way?.resolve ?? image2.resolve)(ref, options2).pipe(
          Effect31.catchIf(
            (error) => way === void 0 && (error.code === "IMPORT_NEEDED" || error.code === "TREE_NOT_FOUND"),
            (error) => imported(pointed, system2, canonical, requester, request, onProgress, error)
          )
        );
        if ("record" in found) return found.record;
        const resolved = found;
        const id = make2(resolved.sourceDigest, profile, resolved.variant ?? (resolved.isPrivate ? `private ${canonical}` : void 0));
        onProgress({ _tag: "Resolved", id, layers: resolved.blobs.map(({ bytes: bytes2, digest }) => ({ digest, bytes: bytes2 })) });
        const access2 = accessOf(request, requester, resolved);
        const released = Effect31.ignore(Effect31.zipRight(catalog.releaseBlobs(row), evict(site)));
        const recorded = readable2(transport2.record(system2, id));
        const index = yield* Effect31.serviceOption(ImageIndex);
        const isDamaged = Option5.isSome(index) && (yield* Effect31.orElseSucceed(index.value.get(system2.name, id), () => void 0))?.damage !== void 0;
        const verify2 = request.verify === true || isDamaged;
        const named = (record2) => Effect31.gen(function* () {
          const current = yield* pointed;
          yield* renaming;
          if (current !== id) {
            if (!(yield* catalog.enter(row, "publish"))) return yield* leaseLost;
            yield* transport2.name(system2, { reference: canonical, id }, row.token);
          }
          if (current !== id || reaped > 0 || (yield* catalog.hasLeftBlobs(row))) yield* released;
          return record2;
        });
        const lifetime = expiryOf(site).expiresIn;
        const used = Option5.isSome(index) ? Effect31.ignore(index.value.touch(system2.name, id, lifetime)) : Effect31.void;
        for (let told8 = false; ; ) {
          const record2 = yield* recorded;
          if (record2 !== void 0 && !verify2 && isSame(mergeAccess(record2, access2), record2) && (yield* pointed) === id) {
            yield* used;
            warnOfAccess(record2, access2, requester, onProgress);
            return yield* named(record2);
          }
          const claim2 = yield* catalog.claim(row, id);
          if (claim2._tag === "Mine") break;
          if (!told8) onProgress({ _tag: "Waiting", id });
          told8 = true;
          yield* waitFor(claim2.pull, claim2.isSameRequest, site);
        }
        const published = yield* recorded;
        if (published !== void 0 && (!verify2 || (yield* transport2.isSound(system2, published)))) {
          warnOfAccess(published, access2, requester, onProgress);
          if (isSame(mergeAccess(published, access2), published) && !verify2) return yield* named(published);
          if (!mayUse(published, requester)) {
            yield* enter("fetch");
            yield* prove(resolved);
          }
          yield* enter("publish");
          return yield* Effect31.flatMap(transport2.setAccess(system2, id, row.token, (current) => mergeAccess(current, access2)), named);
        }
        yield* enter("fetch");
        const { metadata, platform: made3 } = resolved.read === void 0 ? resolved : yield* resolved.read;
        const omitted = encode3(metadata, access2).omitted;
        if (omitted.length > 0) {
          onProgress({ _tag: "Warning", message: `The .meta file for the reference runtime can't say: ${printable(omitted.join("; "))}. This project's runtime reads the record, which says all.` });
        }
        const described2 = {
          id,
          reference: canonical,
          sourceDigest: resolved.sourceDigest,
          manifestDigest: resolved.manifestDigest,
          profile: profileText(profile),
          platform: format(made3),
          ...published === void 0 ? access2 : mergeAccess(published, access2),
          ...metadata
        };
        yield* recordable(described2);
        yield* catalog.useBlobs(row, resolved.blobs.flatMap(({ stored }) => stored ?? []));
        const staging = yield* transport2.stage(system2, row.token, workspace.scratch);
        const summary = yield* Effect31.scoped(convert2(resolved, workspace, staging.file, enter("convert"), onProgress));
        if (summary.dropped > 0) {
          onProgress({ _tag: "Warning", message: `${summary.dropped} device nodes and FIFOs of the image were left out: /dev is the node's.` });
        }
        yield* enter("transfer");
        const file = yield* check(staging.file, { program: workspace.program("shifter-verify"), sample: workspace.sample, written: summary });
        const record = { ...described2, ...file, entries: summary.inodes };
        yield* transport2.publish(system2, staging, record, Effect31.mapError(Effect31.zipRight(renaming, enter("publish")), (error) => new TransportError(carried(error))));
        yield* released;
        return record;
      });
      return yield* Effect31.acquireUseRelease(
        Effect31.fork(Effect31.interruptible(work)),
        (working) => Effect31.raceFirst(Fiber3.join(working), lost),
        Fiber3.interrupt
      );
    });
    imported = (pointed, system2, canonical, requester, request, onProgress, nowhere) => Effect31.gen(function* () {
      const transport2 = yield* Transport;
      const id = yield* pointed;
      const record = id === void 0 ? void 0 : yield* transport2.record(system2, id);
      if (record === void 0 || !mayUse(record, requester)) {
        if (nowhere.code !== "IMPORT_NEEDED") return yield* nowhere;
        return yield* new GatewayError(errorFields("IMPORT_NEEDED", `There is no image "${printable(canonical)}" on ${system2.name}, and nowhere to pull it from`));
      }
      if (request.verify === true && !(yield* transport2.isSound(system2, record))) {
        return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system2.name} is not what its record says`, { remedy: "Import it again." }));
      }
      if (request.allowUids !== void 0 || request.allowGids !== void 0) {
        onProgress({ _tag: "Warning", message: "The image was imported: the access list of a pull has no effect." });
      }
      return { record };
    });
    accessOf = (request, requester, resolved) => {
      const isPrivate = resolved.isPrivate || request.allowUids !== void 0 || request.allowGids !== void 0;
      return { access: isPrivate ? "private" : "public", owner: requester.uid, allowUids: [...request.allowUids ?? []], allowGids: [...request.allowGids ?? []] };
    };
    isSame = (merged2, published) => JSON.stringify(merged2) === JSON.stringify(mergeAccess(published, published));
    warnOfAccess = (published, pulled2, requester, onProgress) => {
      if (!mayUse(published, requester)) return;
      if (published.access === "public" && pulled2.access === "private") {
        onProgress({ _tag: "Warning", message: "The image is public already: the access list has no effect." });
      }
      if (published.access === "private" && pulled2.access === "public") {
        const others2 = published.allowUids.length + published.allowGids.length > 0 ? ` and ${published.allowUids.length} users and ${published.allowGids.length} groups` : "";
        onProgress({ _tag: "Warning", message: `The image was private to uid ${published.owner}${others2}; this pull makes it public.` });
      }
    };
    recordable = (described2) => Either17.mapLeft(
      encode2({ ...described2, entries: Number.MAX_SAFE_INTEGER, imageSize: Number.MAX_SAFE_INTEGER, imageSha256: "0".repeat(64) }),
      (error) => new GatewayError(errorFields("IMAGE_CONFIG_INVALID", `No record can hold what ${described2.reference} says of itself: ${error.what}`, { cause: error }))
    );
    leaseLost = new GatewayError(errorFields("LEASE_LOST", "This process was silent for too long, or fetched for too long while others waited, and another one took over its pull"));
    heartbeat = (row) => Effect31.gen(function* () {
      const catalog = yield* Catalog;
      const lost = yield* Deferred2.make();
      yield* catalog.renew(row).pipe(
        // A catalogue that is busy for a moment costs nothing: the lease lasts for several beats.
        Effect31.orElseSucceed(() => true),
        Effect31.flatMap((held) => held ? Effect31.void : Deferred2.fail(lost, leaseLost)),
        Effect31.repeat(Schedule.spaced(renewMillis)),
        Effect31.forkScoped
      );
      return Deferred2.await(lost);
    });
    outOfReach = ["SSH_CUT", "SSH_UNREACHABLE"];
    ended2 = (catalog, row, exit2) => {
      if (Exit.isSuccess(exit2)) return catalog.end(row, { _tag: "Done" });
      const failure = Cause2.failureOption(exit2.cause);
      if (failure._tag === "Some" && isShifterError(failure.value) && outOfReach.includes(failure.value.code)) return Effect31.void;
      return failure._tag === "Some" && isShifterError(failure.value) && failure.value.code !== "LEASE_LOST" ? catalog.end(row, { _tag: "Failed", code: failure.value.code, what: failure.value.what }) : catalog.end(row, { _tag: "Abandoned" });
    };
    waitFor = (other, isSameRequest, site) => Effect31.gen(function* () {
      const catalog = yield* Catalog;
      for (let looks = 0, millis4 = FIRST_LOOK; looks < LOOKS2; looks++, millis4 = Math.min(LAST_LOOK, millis4 * 1.5)) {
        const state = yield* catalog.state(other);
        if (state._tag === "Failed" && isSameRequest) {
          const code = isErrorCode(state.code) ? state.code : "INTERNAL";
          return yield* new GatewayError(errorFields(code, `Another pull of the same image failed: ${state.what}`));
        }
        if (state._tag !== "Active") return;
        if (state.isOverdue) yield* reap(site);
        yield* Effect31.sleep(Duration2.millis(millis4));
      }
    });
    reap = (site) => Effect31.gen(function* () {
      const catalog = yield* Catalog;
      const transport2 = yield* Transport;
      const ended4 = yield* catalog.reap;
      const away = /* @__PURE__ */ new Set();
      for (const gone2 of ended4) {
        const system2 = site.systems.get(gone2.system);
        if (away.has(gone2.system)) continue;
        yield* Effect31.gen(function* () {
          if (system2 !== void 0) yield* transport2.discard(system2, gone2.token).pipe(Effect31.disconnect, Effect31.timeout(AWAY));
          yield* Effect31.tryPromise(() => removeScratch(site, scratchOf(site, gone2)));
          yield* catalog.reaped(gone2);
        }).pipe(Effect31.catchAll(() => Effect31.sync(() => away.add(gone2.system))));
      }
      const removed2 = ended4.length + (yield* sweep(site));
      if (removed2 > 0) yield* evict(site);
      return removed2;
    });
    scratchLeft = (site) => Effect31.gen(function* () {
      const found = yield* Effect31.promise(() => readdir2(workOf(site)).catch(() => []));
      if (found.length === 0) return [];
      const running = new Set(yield* (yield* Catalog).running);
      return found.filter((token) => !running.has(token));
    });
    sweep = (site) => Effect31.gen(function* () {
      const gone2 = yield* scratchLeft(site);
      yield* Effect31.forEach(gone2, (token) => Effect31.promise(() => removeScratch(site, nodePath15.join(workOf(site), token)).catch(() => void 0)), { discard: true });
      return gone2.length;
    });
    workOf = (site) => nodePath15.join(site.stateDirectory, "work");
    scratchOf = (site, row) => nodePath15.join(workOf(site), row.token);
    blobsOf = (site) => nodePath15.join(site.stateDirectory, "blobs");
    partialsOf = (site) => nodePath15.join(blobsOf(site), "partial");
    removeScratch = async (site, scratch) => {
      await movePartials(scratch, partialsOf(site)).catch(() => void 0);
      await rm8(scratch, { recursive: true, force: true });
    };
    evict = (site) => Effect31.gen(function* () {
      const catalog = yield* Catalog;
      const blobs = yield* Effect31.promise(() => list(blobsOf(site)));
      let excess = blobs.reduce((sum, blob2) => sum + blob2.bytes, 0) - site.cache.bytes;
      if (blobs.length === 0 || excess <= 0) return;
      const byName = new Map(blobs.map((blob2) => [blob2.name, blob2]));
      yield* catalog.unused([...byName.keys()], (name) => {
        const blob2 = byName.get(name);
        if (blob2 === void 0 || excess <= 0) return Effect31.void;
        excess -= blob2.bytes;
        return Effect31.promise(() => remove(blob2));
      });
    });
    workspaceOf = (site, row) => Effect31.gen(function* () {
      const scratch = scratchOf(site, row);
      const workspace = {
        blobs: blobsOf(site),
        partials: partialsOf(site),
        scratch,
        program: (name) => program(name, site.prefix),
        sample: newSample(site.readBack)
      };
      yield* Effect31.acquireRelease(
        Effect31.tryPromise({
          try: async () => {
            await makeDirectory(site.stateDirectory, site.isPersonal);
            if (((await stat3(site.stateDirectory)).mode & 63) !== 0) throw new Error(`it is open to others. Run: chmod 0700 ${site.stateDirectory}`);
            await makeDirectory(nodePath15.dirname(scratch), false);
            await makeDirectory(workspace.blobs, false);
            await makeDirectory(scratch, false);
          },
          catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${site.stateDirectory}: ${messageOf(error)}`, { cause: error }))
        }),
        () => Effect31.promise(() => removeScratch(site, scratch).catch(() => void 0))
      );
      return workspace;
    });
    restarted = (attempt, between10) => Effect31.retry(attempt, { while: (error) => isRestart(error) ? Effect31.as(between10, true) : Effect31.succeed(false), times: 1 }).pipe(
      Effect31.catchIf(isRestart, Effect31.die)
    );
    isRestart = (error) => typeof error === "object" && error !== null && "_tag" in error && error._tag === "RestartNeeded";
    convert2 = (resolved, workspace, file, converting, onProgress) => Effect31.gen(function* () {
      const packer = yield* Packer;
      const executor = yield* Executor;
      const scope5 = yield* Effect31.scope;
      const opened8 = yield* Effect31.cached(Scope.extend(resolved.open, scope5));
      const fetching = yield* Effect31.cached(Effect31.forkIn(Effect31.zipRight(Effect31.flatMap(opened8, (rootfs) => rootfs.fetched), converting), scope5));
      const fetched2 = Effect31.flatMap(fetching, Fiber3.join);
      const isAgain = yield* Ref4.make(false);
      const attempt = Effect31.scoped(
        Effect31.gen(function* () {
          const rootfs = (yield* Ref4.getAndSet(isAgain, true)) ? yield* resolved.open : yield* opened8;
          yield* fetching;
          const summary = yield* packer.pack((output2) => rootfs.write(output2, (bytes2) => onProgress({ _tag: "Packed", bytes: bytes2 })), { target: file, scratch: workspace.scratch });
          yield* fetched2;
          return summary;
        })
      );
      const here2 = restarted(attempt, Effect31.zipRight(Effect31.exit(fetched2), Effect31.promise(() => rm8(file, { force: true }))));
      return yield* executor.convert({ resolved, workspace, target: file, fetched: fetched2, here: here2 });
    });
    prove = (resolved) => restarted(
      Effect31.scoped(
        Effect31.gen(function* () {
          const nowhere = yield* Effect31.acquireRelease(Effect31.promise(() => open13("/dev/null", "w")), (handle) => Effect31.promise(() => handle.close()));
          const rootfs = yield* resolved.open;
          yield* rootfs.write(nowhere.fd, () => void 0).pipe(Effect31.catchTag("OutputEnded", Effect31.die));
          yield* rootfs.fetched;
        })
      ),
      Effect31.void
    );
  }
});

// src/core/Import.ts
import { createHash as createHash10 } from "node:crypto";
import { copyFile as copyFile2, link as link2 } from "node:fs/promises";
import * as nodePath16 from "node:path";
import * as HttpClient8 from "@effect/platform/HttpClient";
import * as Effect32 from "effect/Effect";
import * as Schema26 from "effect/Schema";
var hash, ImportSource, Checked2, importImage, variantOf, merged, acquire2;
var init_Import = __esm({
  "src/core/Import.ts"() {
    "use strict";
    init_Checked();
    init_Disk();
    init_Download();
    init_Errors();
    init_GivenPath();
    init_Image();
    init_ImageRecord();
    init_ImageRef();
    init_ImportSettings();
    init_Pull();
    hash = Schema26.String.pipe(Schema26.pattern(/^[0-9a-f]{64}$/, { message: () => "64 lower-case hex digits" }));
    ImportSource = Schema26.Union(
      /** An absolute path. For a requester it lies below a directory that the site imports from, and is his own. */
      Schema26.TaggedStruct("Path", { path: Schema26.NonEmptyString }),
      /** A complete upload of the requester's; it is removed when it is imported, unless the request keeps it. */
      Schema26.TaggedStruct("Upload", { id: Schema26.String }),
      /** A URL of https, where the site allows them. `sha256` is what its bytes must have, in hex. */
      Schema26.TaggedStruct("Url", { url: Schema26.String.pipe(Schema26.maxLength(8192)), sha256: Schema26.optional(hash) })
    );
    Checked2 = Schema26.Struct({
      reference: Schema26.String,
      source: ImportSource,
      system: Schema26.optional(Schema26.String),
      platform: Schema26.optional(Schema26.String),
      requester: Schema26.optional(Requester),
      allowUids: Schema26.optional(Acl),
      allowGids: Schema26.optional(Acl),
      partition: Schema26.optional(Schema26.String),
      metadata: Schema26.optional(Schema26.partial(MetadataFields))
    });
    importImage = (site, uploads2, http, request) => Effect32.gen(function* () {
      const { metadata: stated = {}, source } = yield* checked(Checked2, request);
      const ref = yield* parse(request.reference, site.defaultImageType);
      const image2 = yield* Image;
      yield* image2.importable(ref);
      yield* permitted(site.import, request.requester?.uid);
      const owner = request.requester?.uid ?? process.getuid?.() ?? 0;
      const record = yield* pull(site, request, {
        resolve: (_, options2) => Effect32.gen(function* () {
          const file = yield* acquire2(site, uploads2, http, request, source, owner, options2);
          const resolved = yield* image2.resolve(ref, { ...options2, file });
          const over = ({ metadata, platform }) => ({ platform, metadata: merged(metadata, stated) });
          return {
            ...resolved,
            ...over(resolved),
            read: resolved.read === void 0 ? void 0 : Effect32.map(resolved.read, over),
            variant: variantOf(ref.type, owner, stated, resolved.variant)
          };
        }),
        mayRename: (current) => request.requester === void 0 || current.owner === request.requester.uid ? Effect32.void : Effect32.fail(new GatewayError(errorFields("ACCESS_DENIED", `The name ${printable(`${ref.type}:${ref.reference}`)} is another user's`, { remedy: "Choose another name." })))
      });
      if (source._tag === "Upload" && request.keepsUpload !== true) yield* Effect32.ignore(uploads2.cancel(source.id, owner));
      return record;
    });
    variantOf = (type, owner, { command = [], entrypoint = [], env = [], labels = [], workdir }, ofSource) => {
      const said4 = createHash10("sha256").update(JSON.stringify([env, entrypoint, command, workdir ?? null, labels])).digest("hex");
      return `${type} 1 ${owner} ${said4}${ofSource === void 0 ? "" : ` ${ofSource}`}`;
    };
    merged = (source, { command, entrypoint, env = [], labels = [], workdir = source.workdir }) => {
      const nameOf4 = (variable) => variable.split("=", 1)[0];
      return {
        env: [...source.env.filter((each) => !env.some((own4) => nameOf4(own4) === nameOf4(each))), ...env],
        entrypoint: entrypoint ?? source.entrypoint,
        command: command ?? source.command,
        labels: [...source.labels.filter(([key]) => !labels.some(([own4]) => own4 === key)), ...labels],
        ...workdir === void 0 ? {} : { workdir }
      };
    };
    acquire2 = (site, uploads2, http, request, source, owner, { limits: limits2, onProgress, workspace }) => Effect32.gen(function* () {
      const file = nodePath16.join(workspace.scratch, "import");
      const failed6 = (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The scratch directory ${workspace.scratch}: ${messageOf(error)}`, { cause: error }));
      yield* Effect32.tryPromise({ try: () => makeDirectory(workspace.scratch, true), catch: failed6 });
      switch (source._tag) {
        case "Path":
          return yield* copy(source.path, request.requester === void 0 ? void 0 : { owner, roots: site.import.roots }, {
            program: workspace.program("shifter-open"),
            file,
            most: limits2.blobBytes
          });
        case "Upload": {
          const uploaded = yield* uploads2.file(source.id, owner);
          yield* Effect32.tryPromise({
            try: () => link2(uploaded.path, file).catch((error) => {
              if (systemCode(error) !== "EXDEV") throw error;
              return copyFile2(uploaded.path, file);
            }),
            catch: failed6
          });
          return { path: file, bytes: uploaded.bytes, digest: uploaded.digest };
        }
        case "Url":
          return yield* download(source.url, {
            file,
            settings: site.import,
            sha256: source.sha256,
            onBytes: (received, bytes2) => onProgress({ _tag: "Received", received, bytes: bytes2 })
          }).pipe(Effect32.provideService(HttpClient8.HttpClient, http));
      }
    });
  }
});

// src/core/Uploads.ts
import { createHash as createHash11, randomBytes as randomBytes6 } from "node:crypto";
import { createReadStream as createReadStream2 } from "node:fs";
import { open as open14, readdir as readdir3, readFile as readFile4, rename as rename6, rm as rm9, stat as stat4 } from "node:fs/promises";
import * as nodePath17 from "node:path";
import * as Context9 from "effect/Context";
import * as Effect33 from "effect/Effect";
import * as Layer5 from "effect/Layer";
import * as Schema27 from "effect/Schema";
import * as Stream8 from "effect/Stream";
var PLACE, Uploads, Request, State2, PIECE2, UPLOADS, WRITERS, layer3, make17;
var init_Uploads = __esm({
  "src/core/Uploads.ts"() {
    "use strict";
    init_Checked();
    init_Digest();
    init_Disk();
    init_Errors();
    init_FileLock();
    init_ImageRecord();
    init_ImportSettings();
    PLACE = "uploads-";
    Uploads = class extends Context9.Tag("shifter-sdk/Uploads")() {
    };
    Request = Schema27.Struct({
      owner: Id,
      // eslint-disable-next-line no-control-regex
      name: Schema27.String.pipe(Schema27.pattern(/^[^\u0000-\u001f\u007f]{1,255}$/, { message: () => "1 to 255 characters, none of them a control character" })),
      bytes: Schema27.NonNegativeInt,
      sha256: Schema27.optional(Schema27.String.pipe(Schema27.pattern(/^[0-9a-f]{64}$/, { message: () => "64 lower-case hex digits" })))
    });
    State2 = Schema27.parseJson(Schema27.Struct({ version: Schema27.Literal(1), ...Request.fields, offset: Schema27.NonNegativeInt, digest: Schema27.optional(Digest) }));
    PIECE2 = 8 * 1024 * 1024;
    UPLOADS = 100;
    WRITERS = 8;
    layer3 = (site) => Layer5.sync(Uploads, () => make17(site));
    make17 = (site) => {
      const directory3 = nodePath17.join(site.stateDirectory, "uploads");
      const { uploadBytes, uploadHours, userBytes } = site.import;
      const stateOf2 = (id) => nodePath17.join(directory3, id, "state.json");
      const dataOf = (id) => nodePath17.join(directory3, id, "data");
      const storing3 = (f) => Effect33.tryPromise({
        try: f,
        catch: (error) => error instanceof GatewayError ? error : new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The uploads in ${directory3}: ${messageOf(error)}`, { cause: error }))
      });
      const alone = async (what, f) => {
        const lock = await acquire(nodePath17.join(directory3, what));
        try {
          return await f(lock);
        } finally {
          await lock.release();
        }
      };
      const notFound = (id) => new GatewayError(errorFields("UPLOAD_NOT_FOUND", `There is no upload "${id}" of yours`));
      const conflict = (what) => new GatewayError(errorFields("UPLOAD_CONFLICT", what));
      const found = async (id) => {
        if (!/^[0-9a-f]{32}$/.test(id)) return void 0;
        try {
          const text5 = await readFile4(stateOf2(id), "utf8");
          return { state: Schema27.decodeSync(State2)(text5), touched: (await stat4(stateOf2(id))).mtimeMs };
        } catch (error) {
          if (systemCode(error) === "ENOENT") return void 0;
          throw error;
        }
      };
      const expiryOf2 = (touched) => touched + uploadHours * 3600 * 1e3;
      const ofOwner = async (id, owner) => {
        const upload = await found(id);
        if (upload === void 0 || upload.state.owner !== owner || expiryOf2(upload.touched) < Date.now()) throw notFound(id);
        return upload;
      };
      const told8 = (id, { state, touched }) => ({
        id,
        name: state.name,
        bytes: state.bytes,
        offset: state.offset,
        complete: state.digest !== void 0,
        digest: state.digest,
        expires: expiryOf2(touched)
      });
      const writeDurably = async (file, text5) => {
        const handle = await open14(`${file}.new`, "w", 384);
        try {
          await handle.writeFile(text5);
          await handle.sync();
        } finally {
          await handle.close();
        }
        await rename6(`${file}.new`, file);
      };
      const save2 = (id, state) => writeDurably(stateOf2(id), Schema27.encodeSync(State2)(state));
      const remove2 = async (id) => {
        await rm9(stateOf2(id), { force: true });
        await rm9(nodePath17.join(directory3, id), { recursive: true, force: true });
      };
      const ids = () => readdir3(directory3).then((names2) => names2.filter((name) => /^[0-9a-f]{32}$/.test(name)), () => []);
      const sweep3 = async () => {
        let removed2 = 0;
        for (const id of await ids()) {
          const upload = await found(id).catch(() => void 0);
          const touched = upload?.touched ?? await stat4(nodePath17.join(directory3, id)).then(({ mtimeMs }) => mtimeMs, () => Date.now());
          if (expiryOf2(touched) >= Date.now()) continue;
          await remove2(id);
          if (upload !== void 0) removed2++;
        }
        return removed2;
      };
      const isPlace = (text5) => text5.startsWith(PLACE) && /^[0-9a-f]{32}$/.test(text5.slice(PLACE.length));
      const place3 = async () => {
        const file = nodePath17.join(directory3, "place");
        const there = await readFile4(file, "utf8").catch((error) => {
          if (systemCode(error) !== "ENOENT") throw error;
          return void 0;
        });
        if (there !== void 0 && isPlace(there)) return there;
        await makeDirectory(directory3, true);
        return alone("place.lock", async () => {
          const name = await readFile4(file, "utf8").catch(() => "");
          if (isPlace(name)) return name;
          const made3 = `${PLACE}${randomBytes6(16).toString("hex")}`;
          await writeDurably(file, made3);
          return made3;
        });
      };
      const create = async (request) => {
        await makeDirectory(directory3, true);
        await sweep3();
        return alone("create.lock", async () => {
          let uploads2 = 1;
          let bytes2 = request.bytes;
          for (const id2 of await ids()) {
            const upload = await found(id2);
            if (upload?.state.owner !== request.owner) continue;
            uploads2++;
            bytes2 += upload.state.bytes;
          }
          const over = bytes2 > userBytes ? `more than ${userBytes} bytes` : uploads2 > UPLOADS ? `more than ${UPLOADS}` : void 0;
          if (over !== void 0) {
            throw new GatewayError(errorFields("LIMIT_EXCEEDED", `With it the uploads of uid ${request.owner} are ${over}`, { remedy: "Import or cancel another one first." }));
          }
          const id = randomBytes6(16).toString("hex");
          await makeDirectory(nodePath17.join(directory3, id), false);
          await (await open14(dataOf(id), "wx", 384)).close();
          await save2(id, { version: 1, owner: request.owner, name: request.name, bytes: request.bytes, ...request.sha256 === void 0 ? {} : { sha256: request.sha256 }, offset: 0 });
          return told8(id, await ofOwner(id, request.owner));
        });
      };
      const commit = (id, owner, at, pieces2) => alone(`${id}.lock`, async (lock) => {
        const { state } = await ofOwner(id, owner);
        const length = pieces2.reduce((sum, piece) => sum + piece.length, 0);
        if (state.digest !== void 0 || state.offset !== at) throw conflict(`The upload ${id} has ${state.offset} bytes, and bytes from ${at} on were sent`);
        if (at + length > state.bytes) throw conflict(`The upload ${id} was to have ${state.bytes} bytes, and more were sent`);
        const data = await open14(dataOf(id), "r+");
        try {
          for (let offset = at, i = 0; i < pieces2.length; i++) {
            const piece = pieces2[i] ?? new Uint8Array();
            for (let done2 = 0; done2 < piece.length; ) done2 += (await data.write(piece, done2, piece.length - done2, offset + done2)).bytesWritten;
            offset += piece.length;
          }
          await data.datasync();
        } finally {
          await data.close();
        }
        if (!await lock.held()) throw conflict(`Another writer took over the upload ${id}`);
        await save2(id, { ...state, offset: at + length });
      });
      const complete = async (id, owner, signal) => {
        const { state } = await ofOwner(id, owner);
        if (state.offset < state.bytes || state.digest !== void 0) return;
        const hash2 = createHash11("sha256");
        if (state.bytes > 0) for await (const piece of createReadStream2(dataOf(id), { end: state.bytes - 1, highWaterMark: 1024 * 1024, signal })) hash2.update(piece);
        const actual = hash2.digest("hex");
        await alone(`${id}.lock`, async () => {
          await ofOwner(id, owner);
          if (state.sha256 !== void 0 && state.sha256 !== actual) {
            await remove2(id);
            throw new GatewayError(errorFields("DIGEST_MISMATCH", `The upload ${id} arrived as sha256:${actual}, not as sha256:${state.sha256}`, { remedy: "Upload it again." }));
          }
          await save2(id, { ...state, digest: Digest.make(`sha256:${actual}`) });
        });
      };
      const writers = /* @__PURE__ */ new Map();
      const asWriter = (owner, effect7) => {
        const changed = (by) => {
          const now = (writers.get(owner) ?? 0) + by;
          if (now === 0) writers.delete(owner);
          else writers.set(owner, now);
        };
        return Effect33.acquireUseRelease(
          Effect33.suspend(
            () => (writers.get(owner) ?? 0) < WRITERS ? Effect33.sync(() => changed(1)) : Effect33.fail(new GatewayError(errorFields("QUEUE_FULL", `${WRITERS} uploads of uid ${owner} are being written to already`, { remedy: "Go on when one of them has ended." })))
          ),
          () => effect7,
          () => Effect33.sync(() => changed(-1))
        );
      };
      return Uploads.of({
        create: (request) => Effect33.gen(function* () {
          yield* checked(Request, request);
          yield* permitted(site.import, request.owner);
          if (request.bytes > uploadBytes) {
            return yield* new GatewayError(errorFields("LIMIT_EXCEEDED", `The upload has ${request.bytes} bytes, more than ${uploadBytes}`));
          }
          return yield* storing3(() => create(request));
        }),
        append: (id, owner, offset, bytes2) => asWriter(owner, Effect33.gen(function* () {
          const before = yield* storing3(() => ofOwner(id, owner));
          if (before.state.offset !== offset) return yield* conflict(`The upload ${id} has ${before.state.offset} bytes, and bytes from ${offset} on were sent`);
          let at = offset;
          let waiting = [];
          let gathered = 0;
          const flush = Effect33.uninterruptible(
            Effect33.suspend(() => {
              const pieces2 = waiting;
              const length = gathered;
              waiting = [];
              gathered = 0;
              if (length === 0) return Effect33.void;
              return Effect33.map(storing3(() => commit(id, owner, at, pieces2)), () => void (at += length));
            })
          );
          yield* Stream8.runForEach(bytes2, (piece) => {
            waiting.push(new Uint8Array(piece));
            gathered += piece.length;
            if (at + gathered > before.state.bytes) {
              waiting = [];
              gathered = 0;
              return Effect33.fail(conflict(`The upload ${id} was to have ${before.state.bytes} bytes, and more were sent`));
            }
            return gathered >= PIECE2 ? flush : Effect33.void;
          }).pipe(Effect33.onError(() => Effect33.ignore(flush)));
          yield* flush;
          yield* storing3((signal) => complete(id, owner, signal));
          return told8(id, yield* storing3(() => ofOwner(id, owner)));
        })),
        status: (id, owner) => storing3(async () => told8(id, await ofOwner(id, owner))),
        cancel: (id, owner) => storing3(async () => {
          await ofOwner(id, owner);
          await remove2(id);
        }),
        file: (id, owner) => storing3(async () => {
          const { state } = await ofOwner(id, owner);
          if (state.digest === void 0) throw conflict(`The upload ${id} is not complete: ${state.offset} of ${state.bytes} bytes are here`);
          return { path: dataOf(id), bytes: state.bytes, digest: state.digest };
        }),
        place: storing3(place3),
        sweep: storing3(sweep3)
      });
    };
  }
});

// src/core/Gateway.ts
import * as nodePath18 from "node:path";
import * as HttpClient10 from "@effect/platform/HttpClient";
import * as Context10 from "effect/Context";
import * as Effect34 from "effect/Effect";
import * as Layer6 from "effect/Layer";
import * as Schema28 from "effect/Schema";
var Gateway, NOBODYS_ID, Lists, Where, Exported, Query, layer4;
var init_Gateway = __esm({
  "src/core/Gateway.ts"() {
    "use strict";
    init_Catalog();
    init_Errors();
    init_Export();
    init_ImageRecord();
    init_Import();
    init_Checked();
    init_Pull();
    init_Site();
    init_Transport();
    init_Uploads();
    Gateway = class extends Context10.Tag("shifter-sdk/Gateway")() {
    };
    NOBODYS_ID = "0".repeat(64);
    Lists = Schema28.Struct({ access: Schema28.optional(Schema28.Literal("public", "private")), allowUids: Acl, allowGids: Acl });
    Where = Schema28.Struct({ system: Schema28.optional(Schema28.String), requester: Schema28.optional(Requester) });
    Exported = Schema28.Struct({ format: ExportFormat, target: Schema28.NonEmptyString });
    Query = Schema28.Struct({ reference: Schema28.String, ...Where.fields });
    layer4 = (site) => Layer6.effect(
      Gateway,
      Effect34.gen(function* () {
        const services = yield* Effect34.context();
        const transport2 = yield* Transport;
        const uploads2 = yield* Uploads;
        const http = yield* HttpClient10.HttpClient;
        const provided = (effect7) => effect7.pipe(
          Effect34.provide(services),
          Effect34.mapError((error) => error._tag === "GatewayError" ? error : new GatewayError(carried(error)))
        );
        const notFound = (text5, system2) => new GatewayError(errorFields("IMAGE_NOT_FOUND", `There is no image "${printable(text5)}" on ${system2.name}`));
        const queried = (text5, options2) => Effect34.gen(function* () {
          yield* checked(Query, { ...options2, reference: text5 });
          const system2 = yield* system(site, options2.system);
          const ref = yield* parseReference(text5, site.defaultImageType);
          return { system: system2, ref, requester: options2.requester };
        });
        const told8 = (requester, effect7) => Effect34.catchIf(effect7, ({ code }) => requester !== void 0 && (code === "RECORD_INVALID" || code === "RECORD_NEWER"), () => Effect34.succeed(void 0));
        const idOf3 = (text5, options2) => Effect34.gen(function* () {
          const { ref, requester, system: system2 } = yield* queried(text5, options2);
          if (ref.type === "id") return { system: system2, ref, requester, id: ref.reference };
          const id = ref.canonical === null ? void 0 : yield* told8(requester, transport2.lookup(system2, ref.canonical));
          if (id !== void 0) return { system: system2, ref, requester, id };
          yield* transport2.record(system2, NOBODYS_ID);
          return yield* notFound(text5, system2);
        });
        const recordOf = (text5, options2) => Effect34.gen(function* () {
          const { id, requester, system: system2 } = yield* idOf3(text5, options2);
          const record = yield* told8(requester, transport2.record(system2, id));
          return record !== void 0 && mayUse(record, requester) ? { system: system2, record } : yield* notFound(text5, system2);
        });
        const list4 = (options2) => Effect34.gen(function* () {
          yield* checked(Where, options2);
          const system2 = yield* system(site, options2.system);
          const { names: names2, problems, records: records2 } = yield* transport2.list(system2);
          const byId = /* @__PURE__ */ new Map();
          for (const { id, reference } of names2) byId.set(id, [...byId.get(id) ?? [], reference]);
          const images2 = records2.filter((record) => mayUse(record, options2.requester)).map((record) => ({ record, names: byId.get(record.id) ?? [], system: system2.name }));
          return { images: images2, problems: options2.requester === void 0 ? problems : [] };
        });
        const remove2 = (text5, options2) => Effect34.gen(function* () {
          const { id, ref, requester, system: system2 } = yield* idOf3(text5, options2);
          if (requester !== void 0) {
            const { record } = yield* recordOf(text5, options2);
            if (record.owner !== requester.uid) {
              return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text5)}" on ${system2.name} is not uid ${requester.uid}'s to remove`));
            }
          }
          if (ref.type !== "id") {
            if (ref.canonical !== null) yield* transport2.unname(system2, ref.canonical);
            return { id, names: [ref.canonical ?? text5], image: false };
          }
          const names2 = (yield* transport2.list(system2)).names.filter((name) => name.id === id).map((name) => name.reference);
          yield* Effect34.forEach(names2, (name) => transport2.unname(system2, name), { discard: true });
          if (requester !== void 0) return { id, names: names2, image: false };
          if (!(yield* transport2.remove(system2, id)) && names2.length === 0) return yield* notFound(text5, system2);
          return { id, names: names2, image: true };
        });
        const setAccess = (text5, change, options2) => Effect34.gen(function* () {
          yield* checked(Lists, change);
          const { record, system: system2 } = yield* recordOf(text5, options2);
          const { requester } = options2;
          if (requester !== void 0 && record.owner !== requester.uid) {
            return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text5)}" on ${system2.name} is not uid ${requester.uid}'s to change`));
          }
          return yield* claimed(
            system2,
            record,
            requester?.uid ?? record.owner,
            (row) => Effect34.gen(function* () {
              const now = yield* transport2.record(system2, record.id);
              if (now === void 0) return yield* notFound(text5, system2);
              const access2 = change.access ?? now.access;
              if (access2 !== now.access && requester !== void 0) {
                return yield* new GatewayError(errorFields("ACCESS_DENIED", `The image "${printable(text5)}" is ${now.access}, which only an administrator changes`));
              }
              if (access2 === "public" && change.allowUids.length + change.allowGids.length > 0) {
                return yield* new GatewayError(errorFields("USAGE", `The image "${printable(text5)}" is public: lists of users and groups have no effect`, { remedy: "Leave the lists empty." }));
              }
              return yield* transport2.setAccess(system2, record.id, row.token, ({ owner }) => ({ access: access2, owner, allowUids: change.allowUids, allowGids: change.allowGids }));
            })
          );
        });
        const claimed = (system2, record, uid, change) => Effect34.gen(function* () {
          const catalog = yield* Catalog;
          return yield* Effect34.acquireUseRelease(
            catalog.begin({ system: system2.name, reference: record.reference, requester: uid }),
            (row) => Effect34.gen(function* () {
              const claim2 = yield* catalog.claim(row, record.id);
              if (claim2._tag === "Theirs") return yield* new GatewayError(errorFields("LEASE_LOST", `The image ${record.id} is being converted or changed`, { remedy: "Ask again in a moment." }));
              return yield* change(row);
            }),
            (row, exit2) => Effect34.ignore(catalog.end(row, exit2._tag === "Success" ? { _tag: "Done" } : { _tag: "Abandoned" }))
          );
        });
        return Gateway.of({
          record: (text5, options2 = {}) => provided(Effect34.map(recordOf(text5, options2), ({ record }) => record)),
          setAccess: (text5, change, options2 = {}) => provided(setAccess(text5, change, options2)),
          pull: (request) => provided(Effect34.scoped(pull(site, request))),
          import: (request) => provided(Effect34.scoped(importImage(site, uploads2, http, request))),
          lookup: (text5, options2 = {}) => provided(Effect34.map(recordOf(text5, options2), ({ record }) => record.id)),
          inspect: (text5, options2 = {}) => provided(
            Effect34.gen(function* () {
              const { record, system: system2 } = yield* recordOf(text5, options2);
              const { names: names2 } = yield* transport2.list(system2);
              return { record, names: names2.filter((name) => name.id === record.id).map((name) => name.reference), system: system2.name };
            })
          ),
          list: (options2 = {}) => provided(list4(options2)),
          remove: (text5, options2 = {}) => provided(remove2(text5, options2)),
          export: (text5, options2) => provided(
            Effect34.scoped(
              Effect34.gen(function* () {
                const { format: format2, target: target2 } = yield* checked(Exported, options2);
                const { record, system: system2 } = yield* recordOf(text5, options2);
                if (!(yield* transport2.isSound(system2, record))) {
                  return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} on ${system2.name} is not what its record says`));
                }
                yield* write2(yield* transport2.image(system2, record.id, nodePath18.dirname(target2)), record, format2, target2);
                return record;
              })
            )
          )
        });
      })
    );
  }
});

// src/core/Audit.ts
import * as Context11 from "effect/Context";
var Audit;
var init_Audit = __esm({
  "src/core/Audit.ts"() {
    "use strict";
    Audit = class extends Context11.Tag("shifter-sdk/Audit")() {
    };
  }
});

// src/core/Upkeep.ts
import * as Context12 from "effect/Context";
import * as Effect35 from "effect/Effect";
import * as Layer7 from "effect/Layer";
import * as Schedule2 from "effect/Schedule";
import * as Schema29 from "effect/Schema";
var Upkeep, Collecting, Expiring, Scrubbing;
var init_Upkeep = __esm({
  "src/core/Upkeep.ts"() {
    "use strict";
    Upkeep = class extends Context12.Tag("shifter-sdk/Upkeep")() {
    };
    Collecting = Schema29.Struct({ system: Schema29.optional(Schema29.String), dryRun: Schema29.optional(Schema29.Boolean) });
    Expiring = Schema29.Struct({ expires: Schema29.UndefinedOr(Schema29.Int.pipe(Schema29.positive())) });
    Scrubbing = Schema29.Struct({
      system: Schema29.optional(Schema29.String),
      olderThanSeconds: Schema29.optional(Schema29.NonNegativeInt),
      limit: Schema29.optional(Schema29.Int.pipe(Schema29.between(1, 1e6)))
    });
  }
});

// src/core/Tokens.ts
import * as Context14 from "effect/Context";
import * as Schema31 from "effect/Schema";
var TokenScope, Tokens;
var init_Tokens = __esm({
  "src/core/Tokens.ts"() {
    "use strict";
    TokenScope = Schema31.Literal("read", "pull", "manage");
    Tokens = class extends Context14.Tag("shifter-sdk/Tokens")() {
    };
  }
});

// src/gateway/Munge.ts
import { accessSync, constants as constants8 } from "node:fs";
import * as nodePath30 from "node:path";
import * as Effect80 from "effect/Effect";
import * as Either24 from "effect/Either";
import * as Redacted9 from "effect/Redacted";
import * as Schema36 from "effect/Schema";
var DIRECTORIES, LARGEST_CREDENTIAL, program2, Payload;
var init_Munge = __esm({
  "src/gateway/Munge.ts"() {
    "use strict";
    DIRECTORIES = ["/usr/bin", "/usr/local/bin", "/opt/munge/bin"];
    LARGEST_CREDENTIAL = 256 * 1024;
    program2 = (name) => DIRECTORIES.map((directory3) => nodePath30.join(directory3, name)).find((file) => {
      try {
        accessSync(file, constants8.X_OK);
        return true;
      } catch {
        return false;
      }
    });
    Payload = Schema36.parseJson(Schema36.Struct({ authorized_locations: Schema36.Record({ key: Schema36.String, value: Schema36.String }) }));
  }
});

// src/gateway/Status.ts
var ofReason, ofCode, statusOf2, statuses;
var init_Status = __esm({
  "src/gateway/Status.ts"() {
    "use strict";
    init_Errors();
    ofReason = {
      Usage: 400,
      Invalid: 400,
      Denied: 403,
      NotFound: 404,
      Interrupted: 409,
      Unsupported: 422,
      Unavailable: 503,
      Configuration: 500,
      Storage: 500,
      Failed: 500
    };
    ofCode = {
      UNAUTHENTICATED: 401,
      LIMIT_EXCEEDED: 413,
      UPLOAD_CONFLICT: 409,
      QUEUE_FULL: 429,
      REGISTRY_RATE_LIMITED: 429,
      REGISTRY_UNREACHABLE: 502,
      REGISTRY_TIMEOUT: 502,
      REGISTRY_ERROR: 502,
      REDIRECT_REFUSED: 502,
      RESOURCE: 503,
      STORAGE_FULL: 507
    };
    statusOf2 = (code) => ofCode[code] ?? ofReason[errorTable[code].reason];
    statuses = errorCodes.reduce(
      (map53, code) => map53.set(statusOf2(code), [...map53.get(statusOf2(code)) ?? [], code]),
      /* @__PURE__ */ new Map()
    );
  }
});

// src/gateway/v1/Schemas.ts
import * as Schema39 from "effect/Schema";
var reasons, errorOf, errorSchemas, ApiErrors, isApiError, Time, count2, Reference2, SystemParam, ImageParams, ListParams, Image2, ImagePage, Found, Removed, AccessLists, Expiry, Pinned, PullRequest, Progress2, State3, Pull, PullId, LimitParams, PullPage, Queue, NewUpload, Upload, UploadOffset, NewImport, CollectParams, Collected, ScrubParams, Scrubbed, Systems, NewToken, Token, MadeToken, TokenPage, TokenId, TokenParams, auditActions, AuditParams, AuditPage, Version, Health;
var init_Schemas = __esm({
  "src/gateway/v1/Schemas.ts"() {
    "use strict";
    init_Digest();
    init_Errors();
    init_ImageRecord();
    init_Import();
    init_Limits();
    init_Progress();
    init_Tokens();
    init_Status();
    reasons = [...new Set(Object.values(errorTable).map(({ reason: reason2 }) => reason2))];
    errorOf = (status) => Schema39.Struct({
      code: Schema39.Literal(...statuses.get(status) ?? []),
      reason: Schema39.Literal(...reasons),
      /** What and where. */
      what: Schema39.String,
      /** What to do next. */
      remedy: Schema39.String,
      message: Schema39.String
    }).annotations({ identifier: `Error${status}`, description: "What went wrong: code and reason for programs, the rest for people." });
    errorSchemas = [...statuses.keys()].sort((a, b) => a - b).map((status) => ({ status, schema: errorOf(status) }));
    ApiErrors = Schema39.Union(...errorSchemas.map(({ schema }) => schema));
    isApiError = Schema39.is(ApiErrors);
    Time = Schema39.Number.annotations({ description: "Milliseconds since 1970." });
    count2 = Schema39.NumberFromString.pipe(Schema39.int());
    Reference2 = Schema39.String.pipe(Schema39.minLength(1), Schema39.maxLength(formatLimits.imageReferenceBytes)).annotations({
      description: "TYPE:REFERENCE, for example docker:debian:12, or id:ID."
    });
    SystemParam = { system: Schema39.optional(Schema39.String.annotations({ description: "Name of a system; the gateway's default without it." })) };
    ImageParams = Schema39.Struct({ ...SystemParam, reference: Reference2 });
    ListParams = Schema39.Struct({
      ...SystemParam,
      prefix: Schema39.optional(Schema39.String.pipe(Schema39.maxLength(formatLimits.imageReferenceBytes)).annotations({ description: "Canonical references that begin so." })),
      owner: Schema39.optional(count2.pipe(Schema39.between(0, 4294967294))),
      unnamed: Schema39.optional(Schema39.BooleanFromString),
      after: Schema39.optional(Schema39.String.pipe(Schema39.maxLength(4096)).annotations({ description: "`next` of the page before." })),
      limit: Schema39.optionalWith(count2.pipe(Schema39.between(1, 1e3)), { default: () => 100 })
    });
    Image2 = Schema39.Struct({
      system: Schema39.String,
      record: RecordFields,
      names: Schema39.Array(Schema39.String),
      published: Schema39.optional(Time),
      used: Schema39.optional(Time),
      expires: Schema39.optional(Time),
      unnamed: Schema39.optional(Time),
      pins: Schema39.optional(Schema39.Array(Id)),
      scrubbed: Schema39.optional(Time),
      damage: Schema39.optional(Schema39.String)
    }).annotations({ identifier: "Image" });
    ImagePage = Schema39.Struct({
      images: Schema39.Array(Schema39.Struct({ name: Schema39.String, image: Image2 })),
      next: Schema39.optional(Schema39.String)
    }).annotations({ identifier: "ImagePage" });
    Found = Schema39.Struct({ id: Schema39.String }).annotations({ identifier: "Found" });
    Removed = Schema39.Struct({ id: Schema39.String, names: Schema39.Array(Schema39.String), image: Schema39.Boolean }).annotations({ identifier: "Removed" });
    AccessLists = Schema39.Struct({
      access: Schema39.optional(Schema39.Literal("public", "private")),
      allowUids: Schema39.optionalWith(Acl, { default: () => [] }),
      allowGids: Schema39.optionalWith(Acl, { default: () => [] })
    }).annotations({ identifier: "AccessLists", description: "Who may use the image beside its owner; replaces what was there. Only administrators make an image public or a public one private." });
    Expiry = Schema39.Struct({ expires: Time.pipe(Schema39.int(), Schema39.positive()) }).annotations({ identifier: "Expiry" });
    Pinned = Schema39.Struct({ pinned: Schema39.Boolean }).annotations({ identifier: "Pinned" });
    PullRequest = Schema39.Struct({
      reference: Reference2,
      platform: Schema39.optional(Schema39.String.pipe(Schema39.maxLength(400))),
      allowUids: Schema39.optional(Acl),
      allowGids: Schema39.optional(Acl),
      verify: Schema39.optional(Schema39.Boolean),
      credentials: Schema39.optional(
        Schema39.Struct({ username: Schema39.String.pipe(Schema39.minLength(1), Schema39.maxLength(1e3)), password: Schema39.Redacted(Schema39.String.pipe(Schema39.maxLength(65536))) })
      )
    }).annotations({ identifier: "PullRequest" });
    Progress2 = Schema39.Struct({
      phase: Schema39.Literal(...phases),
      imageId: Schema39.optional(Schema39.String),
      received: Schema39.Number,
      bytes: Schema39.Number,
      layersDone: Schema39.Number,
      layers: Schema39.Number,
      packed: Schema39.Number,
      isWaiting: Schema39.Boolean,
      warnings: Schema39.Array(Schema39.String)
    }).annotations({ identifier: "Progress" });
    State3 = Schema39.Literal("waiting", "running", "done", "failed", "cancelled");
    Pull = Schema39.Struct({
      id: Schema39.String,
      system: Schema39.String,
      reference: Schema39.String,
      platform: Schema39.optional(Schema39.String),
      state: State3,
      imageId: Schema39.optional(Schema39.String),
      error: Schema39.optional(Schema39.Struct({ code: Schema39.String, what: Schema39.String, remedy: Schema39.String })),
      progress: Schema39.optional(Progress2),
      attempts: Schema39.Number,
      created: Time,
      changed: Time,
      notBefore: Time,
      /** For administrators alone. */
      askers: Schema39.optional(Schema39.Array(Id))
    }).annotations({ identifier: "Pull" });
    PullId = Schema39.Struct({ id: Schema39.String.pipe(Schema39.pattern(/^[0-9a-f]{32}$/)) });
    LimitParams = Schema39.Struct({ ...SystemParam, limit: Schema39.optionalWith(count2.pipe(Schema39.between(1, 1e3)), { default: () => 100 }) });
    PullPage = Schema39.Struct({ pulls: Schema39.Array(Pull) }).annotations({ identifier: "PullPage" });
    Queue = Schema39.Struct({
      pulls: Schema39.Array(Pull),
      counts: Schema39.Array(Schema39.Struct({ system: Schema39.String, state: State3, count: Schema39.Number }))
    }).annotations({ identifier: "Queue" });
    NewUpload = Schema39.Struct({
      name: Schema39.String.pipe(Schema39.minLength(1), Schema39.maxLength(255)),
      bytes: Schema39.NonNegativeInt,
      sha256: Schema39.optional(Schema39.String.pipe(Schema39.pattern(/^[0-9a-f]{64}$/)))
    }).annotations({ identifier: "NewUpload" });
    Upload = Schema39.Struct({
      id: Schema39.String,
      name: Schema39.String,
      bytes: Schema39.Number,
      offset: Schema39.Number.annotations({ description: "Bytes that are here, durably; the next ones begin there." }),
      complete: Schema39.Boolean,
      digest: Schema39.optional(Digest),
      expires: Time
    }).annotations({ identifier: "Upload" });
    UploadOffset = Schema39.Struct({ "upload-offset": count2.pipe(Schema39.nonNegative()).annotations({ description: "The upload's `offset`." }) });
    NewImport = Schema39.Struct({
      reference: Reference2,
      source: ImportSource,
      platform: Schema39.optional(Schema39.String.pipe(Schema39.maxLength(400))),
      allowUids: Schema39.optional(Acl),
      allowGids: Schema39.optional(Acl),
      partition: Schema39.optional(Schema39.String.pipe(Schema39.maxLength(200))),
      metadata: Schema39.optional(Schema39.partialWith(MetadataFields, { exact: true }))
    }).annotations({ identifier: "NewImport" });
    CollectParams = Schema39.Struct({ ...SystemParam, dryRun: Schema39.optionalWith(Schema39.BooleanFromString, { default: () => false }) });
    Collected = Schema39.Struct({
      system: Schema39.String,
      expired: Schema39.Array(Schema39.Struct({ id: Schema39.String, names: Schema39.Array(Schema39.String) })),
      removed: Schema39.Array(Schema39.Struct({ id: Schema39.String, bytes: Schema39.Number })),
      staged: Schema39.Array(Schema39.Struct({ name: Schema39.String, bytes: Schema39.Number })),
      scratch: Schema39.Number,
      problems: Schema39.Array(Schema39.String)
    }).annotations({ identifier: "Collected" });
    ScrubParams = Schema39.Struct({
      ...SystemParam,
      olderThanSeconds: Schema39.optional(count2.pipe(Schema39.nonNegative())),
      limit: Schema39.optional(count2.pipe(Schema39.between(1, 1e6)))
    });
    Scrubbed = Schema39.Struct({
      system: Schema39.String,
      read: Schema39.Number,
      damaged: Schema39.Array(Schema39.Struct({ id: Schema39.String, names: Schema39.Array(Schema39.String), what: Schema39.String }))
    }).annotations({ identifier: "Scrubbed" });
    Systems = Schema39.Struct({
      systems: Schema39.Array(Schema39.Struct({ name: Schema39.String, isDefault: Schema39.Boolean, may: Schema39.Array(TokenScope), isAdmin: Schema39.Boolean }))
    }).annotations({ identifier: "Systems" });
    NewToken = Schema39.Struct({
      label: Schema39.String.pipe(Schema39.minLength(1), Schema39.maxLength(200)),
      scopes: Schema39.NonEmptyArray(TokenScope),
      systems: Schema39.optionalWith(Schema39.Array(Schema39.String).pipe(Schema39.maxItems(1e3)), { default: () => [] }),
      expiresInSeconds: Schema39.Int.pipe(Schema39.between(60, 366 * 24 * 3600))
    }).annotations({ identifier: "NewToken" });
    Token = Schema39.Struct({
      id: Schema39.String,
      label: Schema39.String,
      uid: Id,
      scopes: Schema39.Array(TokenScope),
      systems: Schema39.Array(Schema39.String),
      created: Time,
      expires: Time,
      used: Schema39.optional(Time)
    }).annotations({ identifier: "Token" });
    MadeToken = Schema39.Struct({ token: Token, secret: Schema39.String }).annotations({ identifier: "MadeToken", description: "The secret is shown this once." });
    TokenPage = Schema39.Struct({ tokens: Schema39.Array(Token) }).annotations({ identifier: "TokenPage" });
    TokenId = Schema39.Struct({ id: Schema39.String.pipe(Schema39.minLength(1), Schema39.maxLength(100)) });
    TokenParams = Schema39.Struct({ ...SystemParam, all: Schema39.optionalWith(Schema39.BooleanFromString, { default: () => false }) });
    auditActions = ["pull", "lookup", "remove", "expire", "import", "access", "pin", "unpin", "upload", "token", "collect", "scrub", "refused"];
    AuditParams = Schema39.Struct({
      ...SystemParam,
      uid: Schema39.optional(count2.pipe(Schema39.between(0, 4294967294))),
      action: Schema39.optional(Schema39.Literal(...auditActions)),
      before: Schema39.optional(count2.pipe(Schema39.positive())),
      limit: Schema39.optionalWith(count2.pipe(Schema39.between(1, 1e3)), { default: () => 100 })
    });
    AuditPage = Schema39.Struct({
      rows: Schema39.Array(
        Schema39.Struct({
          id: Schema39.Number,
          time: Time,
          action: Schema39.Literal(...auditActions),
          uid: Schema39.optional(Schema39.Number),
          by: Schema39.String,
          system: Schema39.optional(Schema39.String),
          reference: Schema39.optional(Schema39.String),
          imageId: Schema39.optional(Schema39.String),
          digest: Schema39.optional(Schema39.String),
          why: Schema39.String
        })
      )
    }).annotations({ identifier: "AuditPage" });
    Version = Schema39.Struct({ version: Schema39.String, api: Schema39.Literal(1) }).annotations({ identifier: "Version" });
    Health = Schema39.Struct({ status: Schema39.Literal("ok") }).annotations({ identifier: "Health" });
  }
});

// src/gateway/Fetching.ts
import { createHash as createHash16, randomBytes as randomBytes14 } from "node:crypto";
import { createReadStream as createReadStream4 } from "node:fs";
import { open as open24, rm as rm16 } from "node:fs/promises";
import * as HttpClientRequest3 from "@effect/platform/HttpClientRequest";
import * as Duration9 from "effect/Duration";
import * as Effect92 from "effect/Effect";
import * as Schema40 from "effect/Schema";
import * as Stream14 from "effect/Stream";
var TRIES2, PAUSE, fetched;
var init_Fetching = __esm({
  "src/gateway/Fetching.ts"() {
    "use strict";
    init_Errors();
    init_Schemas();
    TRIES2 = 5;
    PAUSE = "1 second";
    fetched = ({ asked: asked2, system: system2 }, record, target2, options2) => Effect92.gen(function* () {
      const file = `${target2}.${randomBytes14(6).toString("hex")}.squashfs`;
      const failed6 = (error) => new GatewayError(errorFields(storageCode(error, "EXPORT_FAILED"), `${file} can't be written: ${messageOf(error)}`, { cause: error }));
      const writing = (f) => Effect92.tryPromise({ try: f, catch: failed6 });
      const handle = yield* Effect92.acquireRelease(
        writing(() => open24(file, "wx", record.access === "private" ? 384 : 420)),
        (opened8) => Effect92.promise(() => opened8.close().then(() => rm16(file, { force: true })).catch(() => void 0))
      );
      const etag = `"${record.imageSha256}"`;
      let at = 0;
      const part = asked2(
        ({ http, url }) => Effect92.scoped(
          Effect92.gen(function* () {
            const request = HttpClientRequest3.get(`${url}/v1/image/file`, {
              urlParams: { ...system2(options2), reference: `id:${record.id}` },
              headers: { range: `bytes=${at}-`, "if-range": etag }
            });
            const response = yield* http.execute(request);
            if (response.status === 200) at = 0;
            else if (response.status !== 206) return yield* Effect92.flatMap(Effect92.flatMap(response.json, Schema40.decodeUnknown(ApiErrors)), Effect92.fail);
            const stream2 = Stream14.mapError(response.stream, () => new Error("the connection was cut before the end"));
            yield* Stream14.runForEach(
              stream2,
              (bytes2) => writing(async () => {
                for (let done2 = 0; done2 < bytes2.length; ) done2 += (await handle.write(bytes2, done2, bytes2.length - done2, at + done2)).bytesWritten;
                at += bytes2.length;
                if (at > record.imageSize) throw new Error("more bytes came than the image has");
              })
            );
          })
        ),
        Duration9.infinity
      );
      for (let tries = 0; at < record.imageSize; ) {
        const before = at;
        const exit2 = yield* Effect92.either(part);
        if (at > before) tries = 0;
        if (exit2._tag === "Left" && (exit2.left.code !== "GATEWAY_UNREACHABLE" || ++tries > TRIES2)) return yield* exit2.left;
        if (exit2._tag === "Right" && at === before && ++tries > TRIES2) return yield* new GatewayError(errorFields("GATEWAY_UNREACHABLE", "The gateway sends nothing of the image"));
        if (at < record.imageSize) yield* Effect92.sleep(PAUSE);
      }
      const actual = yield* writing(async () => {
        const hash2 = createHash16("sha256");
        for await (const piece of createReadStream4(file, { highWaterMark: 1024 * 1024 })) hash2.update(piece);
        return hash2.digest("hex");
      });
      if (actual !== record.imageSha256) return yield* new GatewayError(errorFields("IMAGE_CORRUPT", `The image ${record.id} arrived as sha256:${actual}, not as its record says`));
      return file;
    });
  }
});

// src/gateway/Listening.ts
import * as Effect93 from "effect/Effect";
import * as Schema41 from "effect/Schema";
import * as Stream15 from "effect/Stream";
var Refusal, listening, resultOf, cut2, unexpected;
var init_Listening = __esm({
  "src/gateway/Listening.ts"() {
    "use strict";
    init_Schemas();
    Refusal = Schema41.parseJson(ApiErrors);
    listening = (response, f) => Effect93.suspend(() => {
      let kind3 = "";
      return response.stream.pipe(
        Stream15.decodeText(),
        Stream15.splitLines,
        Stream15.runForEach(
          (line) => Effect93.gen(function* () {
            if (line.startsWith("event: ")) kind3 = line.slice("event: ".length);
            if (!line.startsWith("data: ")) return;
            const data = line.slice("data: ".length);
            if (kind3 === "error") return yield* Effect93.flatMap(Schema41.decode(Refusal)(data), Effect93.fail);
            yield* f(kind3, data);
          })
        )
      );
    });
    resultOf = (http, request, schema, progress = () => void 0) => Effect93.scoped(
      Effect93.gen(function* () {
        const response = yield* http.execute(request);
        if (response.status !== 200) return yield* Effect93.flatMap(response.json, Schema41.decodeUnknown(ApiErrors)).pipe(Effect93.catchTag("ParseError", () => unexpected(response.status)), Effect93.flatMap(Effect93.fail));
        const found = [];
        yield* listening(
          response,
          (kind3, data) => kind3 === "done" ? Effect93.map(Schema41.decode(Schema41.parseJson(schema))(data), (result2) => void found.push(result2)) : Effect93.sync(() => progress(data))
        ).pipe(Effect93.catchTag("ResponseError", () => Effect93.fail(cut2())));
        const [result] = found;
        return result ?? (yield* Effect93.fail(cut2()));
      })
    );
    cut2 = () => new Error("the connection was cut before the end");
    unexpected = (status) => Effect93.fail({ _tag: "ResponseError", response: { status } });
  }
});

// src/gateway/Following.ts
import * as HttpClientRequest4 from "@effect/platform/HttpClientRequest";
import * as Effect94 from "effect/Effect";
import * as Option10 from "effect/Option";
import * as Schema42 from "effect/Schema";
var PAUSE2, SILENT_STREAMS, following, once2, isEnded, idOf2, outcome, Event, followed, telling;
var init_Following = __esm({
  "src/gateway/Following.ts"() {
    "use strict";
    init_Errors();
    init_Progress();
    init_Listening();
    init_Schemas();
    PAUSE2 = "1 second";
    SILENT_STREAMS = 3;
    following = (asking, request) => Effect94.catchIf(once2(asking, request), (error) => error.code === "CREDENTIALS_GONE" || error.code === "PULL_NOT_FOUND", () => once2(asking, request));
    once2 = ({ asked: asked2, system: system2 }, { allowGids, allowUids, credentials, onProgress, platform, reference, verify: verify2 }) => Effect94.gen(function* () {
      const progress = telling(careful(onProgress));
      const told8 = (pull2) => progress(pull2.progress);
      const submitted = yield* asked2(
        ({ api }) => api.pulls.create({ urlParams: system2, payload: { reference, platform, allowUids, allowGids, verify: verify2, credentials } })
      );
      const path3 = { id: submitted.id };
      const cancel = Effect94.ignore(Effect94.timeout(asked2(({ api }) => api.pulls.cancel({ path: path3, urlParams: system2 })), "5 seconds"));
      const look = asked2(({ api }) => api.pulls.get({ path: path3, urlParams: system2 }));
      const end = yield* Effect94.gen(function* () {
        let pull2 = submitted;
        told8(pull2);
        for (let silent = 0; !isEnded(pull2); ) {
          const before = idOf2(pull2);
          if (silent < SILENT_STREAMS) {
            const last = yield* asked2((client) => Effect94.map(followed(client, path3.id, system2, idOf2(pull2), told8), Option10.some)).pipe(
              Effect94.catchIf((error) => error.code === "GATEWAY_UNREACHABLE", () => Effect94.succeed(Option10.none()))
            );
            pull2 = Option10.getOrUndefined(last) ?? pull2;
          }
          if (isEnded(pull2)) break;
          silent = idOf2(pull2) === before ? silent + 1 : 0;
          yield* Effect94.sleep(PAUSE2);
          pull2 = yield* look;
          told8(pull2);
        }
        return pull2;
      }).pipe(Effect94.onInterrupt(() => cancel));
      return yield* outcome(end, (id) => asked2(({ api }) => Effect94.map(api.images.inspect({ urlParams: { ...system2, reference: `id:${id}` } }), ({ record }) => record)));
    });
    isEnded = ({ state }) => state === "done" || state === "failed" || state === "cancelled";
    idOf2 = ({ attempts: attempts2, changed, state }) => `${changed}-${attempts2}-${state}`;
    outcome = (pull2, record) => {
      if (pull2.state === "done" && pull2.imageId !== void 0) return record(pull2.imageId);
      if (pull2.error === void 0) return Effect94.fail(new GatewayError(errorFields("CANCELLED", `The pull of ${pull2.reference} was cancelled on the gateway`, { remedy: "Ask its administrator, or pull again." })));
      const { code, remedy, what } = pull2.error;
      return Effect94.fail(new GatewayError(errorFields(isErrorCode(code) ? code : "INTERNAL", what, { remedy })));
    };
    Event = Schema42.parseJson(Pull);
    followed = ({ http, url }, id, system2, lastId, told8) => Effect94.scoped(
      Effect94.gen(function* () {
        const request = HttpClientRequest4.get(`${url}/v1/pulls/${id}/events`, { urlParams: system2, headers: { accept: "text/event-stream", "last-event-id": lastId } });
        const response = yield* http.execute(request);
        if (response.status !== 200) return void 0;
        let last;
        yield* listening(
          response,
          (_, data) => Effect94.gen(function* () {
            last = yield* Schema42.decode(Event)(data);
            told8(last);
          })
        ).pipe(
          // A stream that breaks is taken up again.
          Effect94.catchTag("ResponseError", () => Effect94.void)
        );
        return last;
      })
    );
    telling = (onProgress) => {
      let phase = "";
      let imageId = "";
      let waiting = false;
      let warnings2 = [];
      return (progress) => {
        if (progress === void 0) return;
        for (const message of progress.warnings.filter((each) => !warnings2.includes(each))) onProgress({ _tag: "Warning", message });
        warnings2 = progress.warnings;
        if (progress.imageId !== void 0 && progress.imageId !== imageId) {
          imageId = progress.imageId;
          onProgress({ _tag: "Resolved", id: imageId, layers: [] });
        }
        if (progress.isWaiting && !waiting) onProgress({ _tag: "Waiting", id: imageId });
        waiting = progress.isWaiting;
        const { bytes: bytes2, layers, layersDone, received } = progress;
        if (layers > 0) onProgress({ _tag: "Total", received, bytes: bytes2, layersDone, layers });
        if (progress.phase !== phase) {
          phase = progress.phase;
          onProgress({ _tag: "Phase", phase: progress.phase });
        }
        if (progress.packed > 0) onProgress({ _tag: "Packed", bytes: progress.packed });
      };
    };
  }
});

// src/gateway/Importing.ts
import * as HttpClientRequest5 from "@effect/platform/HttpClientRequest";
import * as Duration10 from "effect/Duration";
import * as Effect95 from "effect/Effect";
import * as Option11 from "effect/Option";
import * as Schedule6 from "effect/Schedule";
import * as Schema43 from "effect/Schema";
var again, encode5, decodePull, importing;
var init_Importing = __esm({
  "src/gateway/Importing.ts"() {
    "use strict";
    init_ImageRecord();
    init_Progress();
    init_Following();
    init_Listening();
    init_Schemas();
    again = Schedule6.intersect(Schedule6.spaced("1 second"), Schedule6.recurs(30));
    encode5 = Schema43.encodeSync(Schema43.parseJson(NewImport));
    decodePull = Schema43.decodeUnknownOption(Schema43.parseJson(Pull));
    importing = ({ asked: asked2, system: system2 }, request) => {
      const { allowGids, allowUids, metadata, onProgress, partition, platform, reference, source } = request;
      const body2 = encode5({ reference, source, platform, allowUids, allowGids, partition, metadata });
      const progress = telling(careful(onProgress));
      let id;
      const told8 = (data) => Option11.map(decodePull(data), (pull2) => {
        id = pull2.id;
        progress(pull2.progress);
      });
      const cancel = Effect95.suspend(
        () => id === void 0 ? Effect95.void : Effect95.ignore(Effect95.timeout(asked2(({ api }) => api.pulls.cancel({ path: { id: id ?? "" }, urlParams: system2(request) })), "5 seconds"))
      );
      return asked2(
        ({ http, url }) => resultOf(http, HttpClientRequest5.bodyText(HttpClientRequest5.post(`${url}/v1/imports`, { urlParams: system2(request) }), body2, "application/json"), RecordFields, told8),
        Duration10.infinity
      ).pipe(
        Effect95.retry({ schedule: again, while: (error) => error.code === "GATEWAY_UNREACHABLE" }),
        Effect95.onInterrupt(() => cancel)
      );
    };
  }
});

// src/gateway/Client.ts
import * as Effect96 from "effect/Effect";
var PAGE, make40;
var init_Client = __esm({
  "src/gateway/Client.ts"() {
    "use strict";
    init_Export();
    init_Gateway();
    init_Fetching();
    init_Following();
    init_Importing();
    PAGE = 1e3;
    make40 = (connection) => {
      const { asked: asked2, system: system2 } = connection;
      const image2 = (reference, options2) => ({ urlParams: { ...system2(options2), reference } });
      const inspect2 = (reference, options2) => asked2(({ api }) => api.images.inspect(image2(reference, options2)));
      const pages = (options2, unnamed2) => Effect96.gen(function* () {
        const found = [];
        for (let after; ; ) {
          const page = yield* asked2(({ api }) => api.images.list({ urlParams: { ...system2(options2), unnamed: unnamed2, limit: PAGE, ...after === void 0 ? {} : { after } } }));
          found.push(...page.images.map(({ image: { names: names2, record, system: name } }) => ({ names: names2, record, system: name })));
          if (page.next === void 0) return found;
          after = page.next;
        }
      });
      return Gateway.of({
        pull: (request) => following({ asked: asked2, system: system2(request) }, request),
        lookup: (reference, options2) => Effect96.map(asked2(({ api }) => api.images.lookup(image2(reference, options2))), ({ id }) => id),
        record: (reference, options2) => Effect96.map(inspect2(reference, options2), ({ record }) => record),
        inspect: (reference, options2) => Effect96.map(inspect2(reference, options2), ({ names: names2, record, system: name }) => ({ record, names: names2, system: name })),
        list: (options2 = {}) => Effect96.map(Effect96.all([pages(options2, false), pages(options2, true)]), (found) => ({
          images: [...new Map(found.flat().map((each) => [each.record.id, each])).values()],
          problems: []
        })),
        remove: (reference, options2) => asked2(({ api }) => api.images.remove(image2(reference, options2))),
        setAccess: (reference, change, options2) => Effect96.map(asked2(({ api }) => api.images.access({ ...image2(reference, options2), payload: change })), ({ record }) => record),
        import: (request) => importing(connection, request),
        export: (reference, options2) => Effect96.scoped(
          Effect96.gen(function* () {
            const { record } = yield* inspect2(reference, options2);
            yield* write2(yield* fetched(connection, record, options2.target, options2), record, options2.format, options2.target);
            return record;
          })
        )
      });
    };
  }
});

// src/gateway/v1/Api.ts
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint";
import * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware";
import * as HttpApiSchema from "@effect/platform/HttpApiSchema";
import * as OpenApi from "@effect/platform/OpenApi";
import * as Context17 from "effect/Context";
import * as Schema44 from "effect/Schema";
var Asking, errors, Authenticated, text4, about, images, pulls, uploads, upkeep, tokens, service, open25, Api;
var init_Api = __esm({
  "src/gateway/v1/Api.ts"() {
    "use strict";
    init_Schemas();
    Asking = class extends Context17.Tag("shifter-sdk/Asking")() {
    };
    errors = Schema44.Union(...errorSchemas.map(({ schema, status }) => schema.annotations(HttpApiSchema.annotations({ status }))));
    Authenticated = class extends HttpApiMiddleware.Tag()("shifter-sdk/Authenticated", { provides: Asking, failure: errors }) {
    };
    text4 = (contentType) => Schema44.String.pipe(HttpApiSchema.withEncoding({ kind: "Text", contentType }));
    about = (summary) => OpenApi.annotations({ summary, description: summary });
    images = HttpApiGroup.make("images").add(HttpApiEndpoint.get("list", "/v1/images").setUrlParams(ListParams).addSuccess(ImagePage).annotateContext(about("Images by name, in pages."))).add(HttpApiEndpoint.get("lookup", "/v1/lookup").setUrlParams(ImageParams).addSuccess(Found).annotateContext(about("The id that a reference points to. Counts as a use of the image."))).add(HttpApiEndpoint.get("inspect", "/v1/image").setUrlParams(ImageParams).addSuccess(Image2).annotateContext(about("Everything known of an image."))).add(HttpApiEndpoint.get("file", "/v1/image/file").setUrlParams(ImageParams).addSuccess(HttpApiSchema.withEncoding(Schema44.Uint8ArrayFromSelf, { kind: "Uint8Array", contentType: "application/octet-stream" })).annotateContext(about("The published squashfs, whole or one range of it; its ETag is its SHA-256."))).add(HttpApiEndpoint.del("remove", "/v1/image").setUrlParams(ImageParams).addSuccess(Removed).annotateContext(about("Removes a name; with id:ID the image and all its names."))).add(HttpApiEndpoint.patch("access", "/v1/image/access").setUrlParams(ImageParams).setPayload(AccessLists).addSuccess(Image2).annotateContext(about("Changes who may use an image."))).add(HttpApiEndpoint.put("setExpiry", "/v1/image/expiry").setUrlParams(ImageParams).setPayload(Expiry).addSuccess(Image2).annotateContext(about("Says when an image expires."))).add(HttpApiEndpoint.del("clearExpiry", "/v1/image/expiry").setUrlParams(ImageParams).addSuccess(Image2).annotateContext(about("Lets an image never expire."))).add(HttpApiEndpoint.put("pin", "/v1/image/pin").setUrlParams(ImageParams).addSuccess(Pinned).annotateContext(about("Pins an image: it neither expires nor is collected."))).add(HttpApiEndpoint.del("unpin", "/v1/image/pin").setUrlParams(ImageParams).addSuccess(Pinned).annotateContext(about("Takes one's own pin away."))).middleware(Authenticated);
    pulls = HttpApiGroup.make("pulls").add(HttpApiEndpoint.post("create", "/v1/pulls").setUrlParams(Schema44.Struct(SystemParam)).setPayload(PullRequest).addSuccess(Pull, { status: 202 }).annotateContext(about("Asks for a pull. The same of another user's is joined where both would be given the same."))).add(HttpApiEndpoint.get("list", "/v1/pulls").setUrlParams(LimitParams).addSuccess(PullPage).annotateContext(about("One's own pulls, the newest first."))).add(HttpApiEndpoint.get("get", "/v1/pulls/:id").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).addSuccess(Pull).annotateContext(about("How a pull stands."))).add(HttpApiEndpoint.del("cancel", "/v1/pulls/:id").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).addSuccess(Pull).annotateContext(about("Wants a pull no more. It ends when nobody is left who wants it."))).add(
      HttpApiEndpoint.get("events", "/v1/pulls/:id/events").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).addSuccess(text4("text/event-stream")).annotateContext(about("How a pull stands, now and whenever that changes, as server-sent events `pull`; the stream ends with the pull."))
    ).middleware(Authenticated);
    uploads = HttpApiGroup.make("uploads").add(HttpApiEndpoint.post("create", "/v1/uploads").setUrlParams(Schema44.Struct(SystemParam)).setPayload(NewUpload).addSuccess(Upload, { status: 201 }).annotateContext(about("Begins an upload, for an import."))).add(HttpApiEndpoint.get("get", "/v1/uploads/:id").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).addSuccess(Upload).annotateContext(about("How an upload stands."))).add(
      HttpApiEndpoint.patch("append", "/v1/uploads/:id").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).setHeaders(UploadOffset).addSuccess(Upload).annotateContext(about("Adds the bytes of the body, as they are, at the upload's offset. What came before a cut stays."))
    ).add(HttpApiEndpoint.del("cancel", "/v1/uploads/:id").setPath(PullId).setUrlParams(Schema44.Struct(SystemParam)).addSuccess(HttpApiSchema.NoContent).annotateContext(about("Removes an upload."))).add(
      HttpApiEndpoint.post("import", "/v1/imports").setUrlParams(Schema44.Struct(SystemParam)).setPayload(NewImport).addSuccess(text4("text/event-stream")).annotateContext(about("Makes an image of a file: events `pull` with how it stands, and `done` with its record. It is a pull of the queue, with its id: it goes on without anybody who listens, and the same request joins it."))
    ).middleware(Authenticated);
    upkeep = HttpApiGroup.make("upkeep").add(HttpApiEndpoint.post("collect", "/v1/collect").setUrlParams(CollectParams).addSuccess(text4("text/event-stream")).annotateContext(about("Removes what has expired and what nothing points to, for administrators; the result is the event `done`."))).add(HttpApiEndpoint.post("scrub", "/v1/scrub").setUrlParams(ScrubParams).addSuccess(text4("text/event-stream")).annotateContext(about("Reads published images again, for administrators; the result is the event `done`. It ends with the connection, and goes on from there the next time."))).middleware(Authenticated);
    tokens = HttpApiGroup.make("tokens").add(HttpApiEndpoint.post("create", "/v1/tokens").setUrlParams(Schema44.Struct(SystemParam)).setPayload(NewToken).addSuccess(MadeToken, { status: 201 }).annotateContext(about("Makes a token. Not with a token."))).add(HttpApiEndpoint.get("list", "/v1/tokens").setUrlParams(TokenParams).addSuccess(TokenPage).annotateContext(about("One's own tokens; with `all`, for administrators, everyone's."))).add(HttpApiEndpoint.del("revoke", "/v1/tokens/:id").setPath(TokenId).setUrlParams(TokenParams).addSuccess(HttpApiSchema.NoContent).annotateContext(about("Ends a token."))).middleware(Authenticated);
    service = HttpApiGroup.make("service").add(HttpApiEndpoint.get("systems", "/v1/systems").setUrlParams(Schema44.Struct(SystemParam)).addSuccess(Systems).annotateContext(about("The systems, and what one may there."))).add(HttpApiEndpoint.get("queue", "/v1/queue").setUrlParams(LimitParams).addSuccess(Queue).annotateContext(about("Pulls that wait and run: one's own, for administrators all; and how many there are."))).add(HttpApiEndpoint.get("audit", "/v1/audit").setUrlParams(AuditParams).addSuccess(AuditPage).annotateContext(about("Who did what, for administrators."))).middleware(Authenticated);
    open25 = HttpApiGroup.make("open").add(HttpApiEndpoint.get("version", "/v1/version").addSuccess(Version).annotateContext(about("The version."))).add(HttpApiEndpoint.get("live", "/healthz").addSuccess(Health).annotateContext(about("The process lives."))).add(HttpApiEndpoint.get("ready", "/readyz").addSuccess(Health).annotateContext(about("Catalogue and image paths can be used."))).add(HttpApiEndpoint.get("metrics", "/metrics").addSuccess(text4("text/plain; version=0.0.4; charset=utf-8")).annotateContext(about("Metrics for Prometheus.")));
    Api = class extends HttpApi.make("shifter-gateway").add(images).add(pulls).add(uploads).add(upkeep).add(tokens).add(service).add(open25).addError(errors).annotateContext(
      OpenApi.annotations({
        title: "shifter-gateway",
        version: "1",
        description: "Images for supercomputers. Authenticate with `Authorization: Bearer TOKEN` or `Authorization: Munge CREDENTIAL`, a fresh credential for each request.",
        transform: (spec) => ({
          ...spec,
          components: {
            ...spec["components"],
            securitySchemes: {
              token: { type: "http", scheme: "bearer" },
              munge: { type: "apiKey", in: "header", name: "authorization", description: "Munge CREDENTIAL" }
            }
          },
          security: [{ token: [] }, { munge: [] }]
        })
      })
    ) {
    };
  }
});

// src/gateway/Replica.ts
import * as HttpApiClient from "@effect/platform/HttpApiClient";
var apiOf;
var init_Replica = __esm({
  "src/gateway/Replica.ts"() {
    "use strict";
    init_Api();
    apiOf = (httpClient, baseUrl) => HttpApiClient.makeWith(Api, { httpClient, baseUrl });
  }
});

// src/gateway/Connection.ts
import * as HttpClient12 from "@effect/platform/HttpClient";
import * as HttpClientRequest6 from "@effect/platform/HttpClientRequest";
import * as Duration11 from "effect/Duration";
import * as Effect97 from "effect/Effect";
import * as Random2 from "effect/Random";
import * as Redacted13 from "effect/Redacted";
import * as Ref9 from "effect/Ref";
var PATIENCE2, UNABLE, connect2, authorization, noCredential, told7, statusOf3, reasonOf;
var init_Connection = __esm({
  "src/gateway/Connection.ts"() {
    "use strict";
    init_Errors();
    init_Reach();
    init_Process();
    init_Munge();
    init_Replica();
    init_Schemas();
    PATIENCE2 = Duration11.seconds(60);
    UNABLE = /* @__PURE__ */ new Set([502, 503, 504]);
    connect2 = (remote) => Effect97.gen(function* () {
      const http = (yield* HttpClient12.HttpClient).pipe(
        HttpClient12.mapRequestEffect((request) => Effect97.map(authorization(remote), (header) => header === void 0 ? request : HttpClientRequest6.setHeader(request, "authorization", header))),
        HttpClient12.transformResponse(Effect97.provideService(Reach, { kinds: "any", ca: remote.ca }))
      );
      const clients = yield* Effect97.forEach(
        yield* Random2.shuffle(remote.gateways),
        (url) => Effect97.map(apiOf(http, url.replace(/\/+$/, "")), (api) => ({ url: url.replace(/\/+$/, ""), api, http }))
      );
      const first = yield* Ref9.make(0);
      const asked2 = (use, patience3 = PATIENCE2) => Effect97.gen(function* () {
        const begin2 = yield* Ref9.get(first);
        const reasons2 = [];
        for (let i = 0; i < clients.length; i++) {
          const at = (begin2 + i) % clients.length;
          const client = [...clients][at];
          if (client === void 0) continue;
          const answer = yield* Effect97.either(Effect97.timeoutFail(use(client), { duration: patience3, onTimeout: () => new Error(`no answer within ${Duration11.toSeconds(patience3)} s`) }));
          if (answer._tag === "Right") {
            yield* Ref9.set(first, at);
            return answer.right;
          }
          const error = answer.left;
          if (error instanceof GatewayError) return yield* error;
          if (isApiError(error) && error.code !== "RESOURCE") return yield* told7(error);
          const unexpected2 = statusOf3(error);
          if (unexpected2 !== void 0 && !UNABLE.has(unexpected2)) {
            return yield* new GatewayError(errorFields("INTERNAL", `The gateway ${client.url} answered with HTTP ${unexpected2}, which is no answer of its API`, { remedy: "See whether the address is that of a shifter-gateway." }));
          }
          reasons2.push(`${client.url}: ${isApiError(error) ? error.what : reasonOf(error)}`);
        }
        return yield* new GatewayError(errorFields("GATEWAY_UNREACHABLE", `No gateway answers: ${reasons2.join("; ")}`));
      });
      const system2 = (options2) => {
        const name = options2?.system ?? remote.system;
        return name === void 0 ? {} : { system: name };
      };
      return { asked: asked2, system: system2 };
    });
    authorization = ({ munge, token }) => {
      if (token !== void 0) return Effect97.succeed(`Bearer ${Redacted13.value(token)}`);
      const program3 = program2("munge");
      if (program3 === void 0) return Effect97.succeed(void 0);
      return output(program3, ["--no-input", ...munge === void 0 ? [] : ["--socket", munge]]).pipe(
        Effect97.mapError((error) => noCredential(error.message)),
        Effect97.flatMap(({ status, stderr, stdout }) => status === 0 ? Effect97.succeed(`Munge ${stdout.trim()}`) : noCredential(stderr))
      );
    };
    noCredential = (what) => new GatewayError(errorFields("UNAUTHENTICATED", `Munge gives no credential: ${what}`));
    told7 = ({ code, message, reason: reason2, remedy, what }) => new GatewayError({ code, message, reason: reason2, remedy, what });
    statusOf3 = (error) => typeof error === "object" && error !== null && "_tag" in error && error._tag === "ResponseError" && "response" in error && typeof error.response === "object" && error.response !== null && "status" in error.response && typeof error.response.status === "number" ? error.response.status : void 0;
    reasonOf = (error) => typeof error === "object" && error !== null && "cause" in error && error.cause instanceof Error ? error.cause.message : messageOf(error);
  }
});

// src/gateway/Uploading.ts
import * as HttpClientRequest7 from "@effect/platform/HttpClientRequest";
import * as HttpClientResponse2 from "@effect/platform/HttpClientResponse";
import * as Chunk2 from "effect/Chunk";
import * as Duration12 from "effect/Duration";
import * as Effect98 from "effect/Effect";
import * as Schema45 from "effect/Schema";
import * as Stream16 from "effect/Stream";
var PATIENCE3, theGateways, make44;
var init_Uploading = __esm({
  "src/gateway/Uploading.ts"() {
    "use strict";
    init_Errors();
    init_Uploads();
    init_Schemas();
    PATIENCE3 = Duration12.minutes(10);
    theGateways = new GatewayError(errorFields("OPTION_UNAVAILABLE", "The files of uploads are the gateway's"));
    make44 = ({ asked: asked2, system: system2 }) => {
      const urlParams = system2(void 0);
      const status = ({ digest, ...rest }) => ({ ...rest, digest });
      return Uploads.of({
        create: ({ bytes: bytes2, name, sha256: sha2562 }) => Effect98.map(asked2(({ api }) => api.uploads.create({ urlParams, payload: { bytes: bytes2, name, sha256: sha2562 } })), status),
        append: (id, _, offset, stream2) => Effect98.gen(function* () {
          const body2 = Buffer.concat(Chunk2.toReadonlyArray(yield* Stream16.runCollect(stream2)));
          return yield* asked2(
            ({ http, url }) => Effect98.scoped(
              Effect98.gen(function* () {
                const request = HttpClientRequest7.patch(`${url}/v1/uploads/${id}`, { urlParams, headers: { "upload-offset": String(offset) } });
                const response = yield* http.execute(HttpClientRequest7.bodyUint8Array(request, body2, "application/octet-stream"));
                if (response.status === 200) return status(yield* HttpClientResponse2.schemaBodyJson(Upload)(response));
                return yield* Effect98.flatMap(Effect98.flatMap(response.json, Schema45.decodeUnknown(ApiErrors)), Effect98.fail);
              })
            ),
            PATIENCE3
          );
        }),
        status: (id) => Effect98.map(asked2(({ api }) => api.uploads.get({ path: { id }, urlParams })), status),
        cancel: (id) => asked2(({ api }) => api.uploads.cancel({ path: { id }, urlParams })),
        file: () => Effect98.fail(theGateways),
        place: Effect98.fail(theGateways),
        sweep: Effect98.succeed(0)
      });
    };
  }
});

// src/gateway/Upkeeping.ts
import * as HttpClientRequest8 from "@effect/platform/HttpClientRequest";
import * as Duration13 from "effect/Duration";
import * as Effect99 from "effect/Effect";
var FOREVER, make45;
var init_Upkeeping = __esm({
  "src/gateway/Upkeeping.ts"() {
    "use strict";
    init_Upkeep();
    init_Listening();
    init_Schemas();
    FOREVER = Duration13.infinity;
    make45 = ({ asked: asked2, system: system2 }) => {
      const image2 = (reference, options2) => ({ urlParams: { ...system2(options2), reference } });
      const kept = ({ expires, pins = [], record }) => ({ id: record.id, expires, pins });
      const inspected = (reference, options2) => Effect99.map(asked2(({ api }) => api.images.inspect(image2(reference, options2))), kept);
      const long = (path3, schema, urlParams) => asked2(({ http, url }) => resultOf(http, HttpClientRequest8.post(`${url}${path3}`, { urlParams }), schema), FOREVER);
      return Upkeep.of({
        collect: (request) => long("/v1/collect", Collected, { ...system2(request), dryRun: request?.dryRun === true ? "true" : void 0 }),
        scrub: (request) => long("/v1/scrub", Scrubbed, { ...system2(request), olderThanSeconds: request?.olderThanSeconds?.toString(), limit: request?.limit?.toString() }),
        pin: (reference, options2) => Effect99.zipRight(asked2(({ api }) => api.images.pin(image2(reference, options2))), inspected(reference, options2)),
        unpin: (reference, options2) => Effect99.zipRight(asked2(({ api }) => api.images.unpin(image2(reference, options2))), inspected(reference, options2)),
        expire: (reference, expires, options2) => Effect99.map(
          asked2(({ api }) => expires === void 0 ? api.images.clearExpiry(image2(reference, options2)) : api.images.setExpiry({ ...image2(reference, options2), payload: { expires } })),
          kept
        )
      });
    };
  }
});

// src/remote.ts
var remote_exports = {};
__export(remote_exports, {
  remoteGatewayLayer: () => remoteGatewayLayer
});
import * as Context18 from "effect/Context";
import * as Effect100 from "effect/Effect";
import * as Layer15 from "effect/Layer";
var limits, remoteGatewayLayer;
var init_remote = __esm({
  "src/remote.ts"() {
    "use strict";
    init_Gateway();
    init_NodeHttp();
    init_Upkeep();
    init_Uploads();
    init_Client();
    init_Connection();
    init_Uploading();
    init_Upkeeping();
    limits = { connectSeconds: 5, headersSeconds: 60, stallSeconds: 60, bytesPerSecond: 0 };
    remoteGatewayLayer = (remote) => Layer15.effectContext(Effect100.map(connect2(remote), (connection) => Context18.make(Gateway, make40(connection)).pipe(Context18.add(Upkeep, make45(connection)), Context18.add(Uploads, make44(connection))))).pipe(
      Layer15.provide(layer(limits))
    );
  }
});

// src/index.ts
import * as Cause3 from "effect/Cause";
import * as Effect101 from "effect/Effect";
import * as Either27 from "effect/Either";
import * as Exit2 from "effect/Exit";
import * as Logger from "effect/Logger";
import * as Redacted14 from "effect/Redacted";

// src/backends/docker/index.ts
init_Errors();
init_ImageRef();
import * as HttpClient4 from "@effect/platform/HttpClient";
import * as Effect21 from "effect/Effect";
import * as Either10 from "effect/Either";

// src/backends/docker/Archive.ts
init_Digest();
init_Disk();
init_Errors();
init_Filter();
init_ImageRef();
import { open as open4 } from "node:fs/promises";
import * as nodePath5 from "node:path";
import * as Effect7 from "effect/Effect";
import * as Either5 from "effect/Either";
import * as Schema4 from "effect/Schema";

// src/core/TarIndex.ts
init_Errors();
import * as Effect4 from "effect/Effect";
var BLOCK = 512;
var MEMBERS = 2e5;
var EXTENSION_BYTES = 64 * 1024;
var read = (handle, size, name, code) => Effect4.tryPromise({
  try: (signal) => scan(handle, size, signal),
  catch: (error) => new ImageError(errorFields(code, `The archive ${name} is not valid: ${printable(messageOf(error))}`, { cause: error }))
});
var scan = async (handle, size, signal) => {
  const members = /* @__PURE__ */ new Map();
  const block = Buffer.alloc(BLOCK);
  let extension = {};
  for (let at = 0; at + BLOCK <= size; ) {
    signal.throwIfAborted();
    await exactly(handle, block, at);
    if (block.every((byte) => byte === 0)) return members;
    checksum(block, at);
    const type = String.fromCharCode(block[156] === 0 ? 48 : block[156] ?? 0);
    const stated = octal(block, 124, 12, at);
    const offset = at + BLOCK;
    if (type === "x" || type === "g" || type === "L" || type === "K") {
      if (stated > EXTENSION_BYTES) throw new Error(`the extended header at byte ${at} has ${stated} bytes`);
      const body2 = Buffer.alloc(stated);
      await exactly(handle, body2, offset);
      if (type === "x") extension = { ...extension, ...records(body2, at) };
      if (type === "L") extension.path = text(body2, 0, stated);
      if (type === "K") extension.linkpath = text(body2, 0, stated);
      at = offset + padded(stated);
      continue;
    }
    const length = type === "0" || type === "7" ? extension.size ?? stated : 0;
    if (offset + length > size) throw new Error(`the member at byte ${at} is longer than the archive`);
    const member = clean(extension.path ?? headerName(block));
    const found = type === "0" || type === "7" ? { _tag: "File", offset, size: length } : type === "1" ? { _tag: "Link", target: clean(extension.linkpath ?? text(block, 157, 100)) } : type === "2" ? { _tag: "Link", target: beside(member, extension.linkpath ?? text(block, 157, 100)) } : void 0;
    if (found === void 0 && type !== "5") throw new Error(`the member "${member}" is no file, link or directory`);
    if (found !== void 0) {
      if (members.has(member)) throw new Error(`it has two members "${member}"`);
      if (members.size === MEMBERS) throw new Error(`it has more than ${MEMBERS} members`);
      members.set(member, found);
    }
    extension = {};
    at = offset + padded(length);
  }
  return members;
};
var padded = (length) => Math.ceil(length / BLOCK) * BLOCK;
var exactly = async (handle, into, at) => {
  const { bytesRead } = await handle.read(into, 0, into.length, at);
  if (bytesRead !== into.length) throw new Error("it ends in the middle of a member");
};
var text = (b, start2, length) => {
  const nul = b.indexOf(0, start2);
  return b.toString("utf8", start2, nul < 0 || nul > start2 + length ? start2 + length : nul);
};
var headerName = (b) => {
  const name = text(b, 0, 100);
  return b[345] !== 0 && b.toString("latin1", 257, 263) === "ustar\0" ? `${text(b, 345, 155)}/${name}` : name;
};
var octal = (b, start2, length, at) => {
  if (((b[start2] ?? 0) & 128) !== 0) {
    const value9 = b.readUIntBE(start2 + length - 6, 6);
    if (b[start2] !== 128 || b.subarray(start2 + 1, start2 + length - 6).some((byte) => byte !== 0)) throw new Error(`a number at byte ${at} is out of range`);
    return value9;
  }
  const digits = b.toString("latin1", start2, start2 + length).split("\0")[0]?.trim() ?? "";
  if (!/^[0-7]*$/.test(digits)) throw new Error(`a field at byte ${at} is no number`);
  return digits === "" ? 0 : parseInt(digits, 8);
};
var checksum = (b, at) => {
  const stated = b.toString("latin1", 148, 156);
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : b[i] ?? 0;
  if (!/^[ 0-7]+[\0 ]*$/.test(stated) || octal(b, 148, 8, at) !== sum) throw new Error(at === 0 ? "it is no tar archive" : `the checksum at byte ${at} is wrong`);
};
var records = (b, at) => {
  const found = {};
  for (let start2 = 0; start2 < b.length; ) {
    const blank = b.indexOf(32, start2);
    const length = blank < 0 ? 0 : Number(b.toString("latin1", start2, blank));
    const equals = b.indexOf(61, blank);
    if (!Number.isInteger(length) || length < 5 || start2 + length > b.length || equals < 0 || equals >= start2 + length) {
      throw new Error(`the extended header at byte ${at} is malformed`);
    }
    const key = b.toString("utf8", blank + 1, equals);
    const value9 = b.toString("utf8", equals + 1, start2 + length - 1);
    if ((key === "path" || key === "linkpath" || key === "size") && found[key] !== void 0) throw new Error(`the extended header at byte ${at} says its ${key} twice`);
    if (key === "path") found.path = value9;
    if (key === "linkpath") found.linkpath = value9;
    if (key === "size") {
      if (!/^[0-9]{1,15}$/.test(value9)) throw new Error(`the size in the extended header at byte ${at} is no number`);
      found.size = Number(value9);
    }
    start2 += length;
  }
  return found;
};
var clean = (name) => name.split("/").filter((part) => part !== "" && part !== ".").join("/");
var beside = (member, target2) => {
  const parts = target2.startsWith("/") ? [] : member.split("/").slice(0, -1);
  for (const part of target2.split("/")) {
    if (part === "..") {
      if (parts.pop() === void 0) throw new Error(`the link "${member}" leads out of it`);
    } else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
};

// src/backends/docker/ImageFiles.ts
init_Digest();
init_Errors();
import { createHash as createHash3 } from "node:crypto";
import { constants as constants2 } from "node:fs";
import { access, open as open3 } from "node:fs/promises";
import * as nodePath4 from "node:path";
import * as Effect5 from "effect/Effect";
var directory = (path3) => ({
  name: path3,
  has: (file) => Effect5.promise(() => access(nodePath4.join(path3, file)).then(() => true, () => false)),
  range: (file) => Effect5.scoped(Effect5.map(regular(nodePath4.join(path3, file)), ({ size }) => ({ file: nodePath4.join(path3, file), offset: 0, length: size })))
});
var regular = (file) => Effect5.gen(function* () {
  const handle = yield* Effect5.acquireRelease(
    Effect5.tryPromise({ try: () => open3(file, constants2.O_RDONLY | constants2.O_NONBLOCK), catch: (error) => unreadable(file, error) }),
    (opened8) => Effect5.promise(() => opened8.close())
  );
  const found = yield* Effect5.tryPromise({ try: () => handle.stat(), catch: (error) => unreadable(file, error) });
  if (!found.isFile()) return yield* unreadable(file, new Error("it is no regular file"));
  return { handle, size: found.size };
});
var read2 = (files4, file, limit2) => Effect5.scoped(
  Effect5.gen(function* () {
    const range = yield* files4.range(file);
    if (range.length > limit2) {
      return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${file} of ${files4.name} has ${range.length} bytes, more than ${limit2}`));
    }
    const { handle } = yield* regular(range.file);
    const bytes2 = Buffer.alloc(range.length);
    const { bytesRead } = yield* Effect5.tryPromise({ try: () => handle.read(bytes2, 0, range.length, range.offset), catch: (error) => unreadable(range.file, error) });
    return bytesRead === range.length ? bytes2 : yield* unreadable(range.file, new Error("it became shorter while it was read"));
  })
);
var verified = (files4, file, expected, what) => Effect5.scoped(
  Effect5.gen(function* () {
    const range = yield* files4.range(file);
    if (range.length !== expected.size) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `${what} has ${range.length} bytes, but its manifest says ${expected.size}`));
    }
    const { handle } = yield* regular(range.file);
    const actual = yield* Effect5.tryPromise({ try: (signal) => digestOf(handle, range, signal), catch: (error) => unreadable(range.file, error) });
    return actual === hex(expected.digest) ? range : yield* new ImageError(errorFields("DIGEST_MISMATCH", `${what} has the digest sha256:${actual}`));
  })
);
var PIECE = 1024 * 1024;
var digestOf = async (handle, range, signal) => {
  const hash2 = createHash3("sha256");
  const piece = Buffer.allocUnsafeSlow(PIECE);
  for (let done2 = 0; done2 < range.length; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE, range.length - done2), range.offset + done2);
    if (bytesRead === 0) throw new Error("it became shorter while it was read");
    hash2.update(piece.subarray(0, bytesRead));
    done2 += bytesRead;
  }
  return hash2.digest("hex");
};
var unreadable = (file, error) => new ImageError(
  errorFields("LAYOUT_INVALID", systemCode(error) === "ENOENT" ? `${file} does not exist` : `${file} can't be read: ${messageOf(error)}`, { cause: error })
);

// src/backends/docker/Json.ts
import * as Either3 from "effect/Either";
var DEPTH = 64;
var parse2 = (bytes2) => {
  let text5;
  try {
    text5 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes2);
  } catch {
    return Either3.left("it is no UTF-8");
  }
  const why = objection(text5);
  if (why !== void 0) return Either3.left(why);
  try {
    return Either3.right(JSON.parse(text5));
  } catch {
    return Either3.left("it is no JSON");
  }
};
var QUOTE = 34;
var BACKSLASH = 92;
var objection = (text5) => {
  const open26 = [];
  let last = "";
  for (let i = 0; i < text5.length; i++) {
    const c = text5.charCodeAt(i);
    if (c === QUOTE) {
      const start2 = i;
      for (i++; i < text5.length && text5.charCodeAt(i) !== QUOTE; i++) if (text5.charCodeAt(i) === BACKSLASH) i++;
      last = text5.slice(start2, i + 1);
    } else if (c === 123 || c === 91) {
      if (open26.length >= DEPTH) return `it is nested more than ${DEPTH} deep`;
      open26.push(c === 123 ? /* @__PURE__ */ new Set() : void 0);
    } else if (c === 125 || c === 93) open26.pop();
    else if (c === 58) {
      const key = unquoted(last);
      const keys = open26.at(-1);
      if (keys?.has(key) === true) return `it has the key "${key.slice(0, 100)}" twice`;
      keys?.add(key);
    }
  }
  return void 0;
};
var unquoted = (text5) => {
  if (!text5.includes("\\")) return text5.slice(1, -1);
  try {
    return String(JSON.parse(text5));
  } catch {
    return text5;
  }
};

// src/backends/docker/Layout.ts
init_Digest();
init_Errors();
init_ImageRef();
import * as Effect6 from "effect/Effect";
import * as Schema3 from "effect/Schema";

// src/backends/docker/Manifest.ts
init_Digest();
init_Errors();
import * as Either4 from "effect/Either";
import * as ParseResult from "effect/ParseResult";
import * as Schema2 from "effect/Schema";
var mediaTypes = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json"
};
var layerTypes = /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)(?:[+.](?:gzip|zstd))?$/;
var foreign = /^application\/vnd\.(?:oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./;
var accepted = Object.values(mediaTypes).join(", ");
var Size = Schema2.Int.pipe(Schema2.between(0, Number.MAX_SAFE_INTEGER));
var Descriptor = Schema2.Struct({
  mediaType: Schema2.optional(Schema2.String),
  digest: Digest,
  size: Size,
  urls: Schema2.optional(Schema2.Array(Schema2.String))
});
var IndexEntry = Schema2.Struct({
  mediaType: Schema2.optional(Schema2.String),
  digest: Digest,
  size: Size,
  platform: Schema2.optional(
    Schema2.Struct({ os: Schema2.String, architecture: Schema2.String, variant: Schema2.optional(Schema2.String) })
  ),
  annotations: Schema2.optional(Schema2.Record({ key: Schema2.String, value: Schema2.String }))
});
var Index = Schema2.Struct({
  schemaVersion: Schema2.Literal(2),
  mediaType: Schema2.optional(Schema2.String),
  manifests: Schema2.Array(IndexEntry)
});
var Manifest = Schema2.Struct({
  schemaVersion: Schema2.Literal(2),
  mediaType: Schema2.optional(Schema2.String),
  config: Descriptor,
  layers: Schema2.Array(Descriptor)
});
var Words = Schema2.NullishOr(Schema2.Array(Schema2.String));
var Labels = Schema2.transform(
  Schema2.Object.pipe(Schema2.filter((value9) => !Array.isArray(value9) || "Expected an object of labels")),
  Schema2.Array(Schema2.Tuple(Schema2.String, Schema2.String)),
  { strict: false, decode: (labels) => Object.entries(labels), encode: (labels) => Object.fromEntries(labels) }
);
var ImageConfig = Schema2.Struct({
  os: Schema2.optional(Schema2.String),
  architecture: Schema2.String,
  variant: Schema2.optional(Schema2.String),
  config: Schema2.NullishOr(
    Schema2.Struct({
      Env: Schema2.optional(Words),
      Entrypoint: Schema2.optional(Words),
      Cmd: Schema2.optional(Words),
      WorkingDir: Schema2.optional(Schema2.NullishOr(Schema2.String)),
      Labels: Schema2.optional(Schema2.NullishOr(Labels))
    })
  ).pipe(Schema2.optional),
  rootfs: Schema2.Struct({ type: Schema2.Literal("layers"), diff_ids: Schema2.Array(Digest) })
});
var decodeDocument = (bytes2, contentType, where) => {
  const invalid6 = (why) => Either4.left(new ImageError(errorFields("MANIFEST_INVALID", `The manifest of ${where} is not valid: ${why}`)));
  const unsupported = (why) => Either4.left(new ImageError(errorFields("MANIFEST_UNSUPPORTED", `The manifest of ${where} is not supported: ${why}`)));
  const parsed = parse2(bytes2);
  if (Either4.isLeft(parsed)) return invalid6(`${parsed.left}${contentType === void 0 ? "" : ` (it was sent as "${contentType.slice(0, 100)}")`}`);
  const json = parsed.right;
  if (typeof json !== "object" || json === null || Array.isArray(json)) return invalid6("it is no JSON object");
  const has = (key) => Object.hasOwn(json, key);
  const version3 = "schemaVersion" in json ? json.schemaVersion : void 0;
  if (version3 === 1 || has("fsLayers") || has("signatures")) return unsupported("it has schema version 1, which registries have retired");
  if (has("manifests") && (has("layers") || has("config"))) return invalid6("it could be read as a manifest and as an index");
  const stated = "mediaType" in json && typeof json.mediaType === "string" ? json.mediaType : void 0;
  const type = contentType?.split(";")[0]?.trim().toLowerCase();
  const known2 = Object.values(mediaTypes);
  for (const each of [stated, type]) {
    if (each === void 0 || known2.includes(each)) continue;
    if (each === type && (each === "application/json" || each === "application/octet-stream" || each === "text/plain")) continue;
    return unsupported(`its media type is "${each}"`);
  }
  if (stated !== void 0 && type !== void 0 && known2.includes(type) && stated !== type) {
    return invalid6(`it says it is "${stated}", but was sent as "${type}"`);
  }
  const isIndex = has("manifests");
  for (const each of [stated, type]) {
    if (each === void 0 || !known2.includes(each)) continue;
    if ((each === mediaTypes.ociIndex || each === mediaTypes.dockerList) !== isIndex) return invalid6(`its content does not fit its media type "${each}"`);
  }
  if (isIndex) {
    const index = Schema2.decodeUnknownEither(Index)(json);
    return Either4.isLeft(index) ? invalid6(reason(index.left)) : Either4.right({ kind: "index", index: index.right });
  }
  const manifest = Schema2.decodeUnknownEither(Manifest)(json);
  if (Either4.isLeft(manifest)) return invalid6(reason(manifest.left));
  const sizes = /* @__PURE__ */ new Map();
  for (const layer13 of manifest.right.layers) {
    if ((sizes.get(layer13.digest) ?? layer13.size) !== layer13.size) return invalid6(`it says two sizes of the layer ${layer13.digest}`);
    sizes.set(layer13.digest, layer13.size);
    if (layer13.urls !== void 0 && layer13.urls.length > 0 || foreign.test(layer13.mediaType ?? "")) return unsupported(`its layer ${layer13.digest} lies elsewhere (a foreign layer)`);
    if (layer13.mediaType !== void 0 && !layerTypes.test(layer13.mediaType)) {
      const why = layer13.mediaType.endsWith("+encrypted") ? "which is encrypted" : "no file system layer";
      return unsupported(`its layer ${layer13.digest} is "${layer13.mediaType.slice(0, 200)}", ${why}`);
    }
  }
  const config = manifest.right.config.mediaType;
  if (config !== void 0 && config !== "application/vnd.oci.image.config.v1+json" && config !== "application/vnd.docker.container.image.v1+json") {
    return unsupported(`its configuration is "${config}": an artifact, no image`);
  }
  return Either4.right({ kind: "manifest", manifest: manifest.right });
};
var decodeConfig = (bytes2, where) => {
  const invalid6 = (why) => Either4.left(new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The image configuration of ${where} is not valid: ${why}`)));
  const parsed = parse2(bytes2);
  if (Either4.isLeft(parsed)) return invalid6(parsed.left);
  const config = Schema2.decodeUnknownEither(ImageConfig)(parsed.right);
  return Either4.isLeft(config) ? invalid6(reason(config.left)) : Either4.right(config.right);
};
var reason = (error) => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error);
  const depth = Math.max(...issues.map(({ path: path4 }) => path4.length));
  const deepest = issues.filter(({ path: path4 }) => path4.length === depth);
  const { message, path: path3 } = deepest.find(({ message: message2 }) => !/^Expected (?:undefined|null),/.test(message2)) ?? deepest[0] ?? { message: error.message, path: [] };
  const what = message.length > 200 ? `${message.slice(0, 80)}\u2026, ${/actual .{0,80}/s.exec(message.slice(-200))?.[0] ?? ""}` : message;
  return path3.length === 0 ? what : `"${path3.map(String).join(".")}": ${what}`;
};

// src/backends/docker/Layout.ts
var TAG = "org.opencontainers.image.ref.name";
var Marker = Schema3.parseJson(Schema3.Struct({ imageLayoutVersion: Schema3.Literal("1.0.0") }));
var store = (ref, options2) => {
  const { path: path3, tag } = pathAndTag(ref);
  return storeOf(directory(path3), tag, "oci", options2);
};
var storeOf = (files4, wanted, type, options2) => Effect6.gen(function* () {
  if (!(yield* files4.has("oci-layout"))) {
    return yield* new ImageError(
      errorFields("MANIFEST_NOT_FOUND", `${files4.name} holds no file oci-layout, or does not exist`, {
        remedy: type === "oci" ? "Name the directory of an OCI image layout." : "Name an archive of an OCI image layout."
      })
    );
  }
  const marker = yield* read2(files4, "oci-layout", 4096);
  yield* Schema3.decode(Marker)(Buffer.from(marker).toString()).pipe(
    Effect6.mapError(() => new ImageError(errorFields("LAYOUT_INVALID", `oci-layout of ${files4.name} does not say imageLayoutVersion 1.0.0`)))
  );
  const bytes2 = yield* read2(files4, "index.json", options2.limits.manifestBytes);
  const document = yield* decodeDocument(bytes2, void 0, `index.json of ${files4.name}`);
  if (document.kind !== "index") return yield* new ImageError(errorFields("LAYOUT_INVALID", `index.json of ${files4.name} is no index`));
  const entries3 = typeof wanted === "object" ? document.index.manifests.filter(({ digest }) => digest === wanted.digest).slice(0, 1) : document.index.manifests;
  const tag = typeof wanted === "object" ? void 0 : wanted;
  const tagged = tag === void 0 ? entries3 : entries3.filter((entry) => entry.annotations?.[TAG] === tag);
  const tags2 = [...new Set(entries3.flatMap((entry) => entry.annotations?.[TAG] ?? []))];
  if (tagged.length === 0) {
    return yield* new ImageError(errorFields("MANIFEST_NOT_FOUND", `The layout ${files4.name} has no image${tag === void 0 ? "" : ` "${tag}"`}; its tags: ${tags2.slice(0, 30).join(", ") || "none"}`));
  }
  if (tag === void 0 && tags2.length > 1) {
    return yield* new ImageError(
      errorFields("MANIFEST_NOT_FOUND", `The layout ${files4.name} has several images: ${tags2.slice(0, 30).join(", ")}`, { remedy: `Name one: ${type}:PATH:TAG.` })
    );
  }
  const top = tagged.length === 1 ? tagged[0] : void 0;
  const topBytes = top === void 0 ? Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: tagged })) : void 0;
  const name = `${type}:${files4.name}${tag === void 0 ? "" : `:${tag}`}`;
  return {
    name,
    hasManifest: true,
    manifest: (digest) => digest === void 0 && topBytes !== void 0 ? Effect6.succeed({ bytes: topBytes, contentType: void 0 }) : Effect6.map(blob(files4, digest ?? top?.digest, options2.limits.manifestBytes), (bytes3) => ({ bytes: bytes3, contentType: void 0 })).pipe(
      Effect6.filterOrFail(
        ({ bytes: bytes3 }) => digest !== void 0 || bytes3.length === top?.size && ofBytes(bytes3) === top.digest,
        () => new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${name} has not the size and digest that index.json says`))
      )
    ),
    small: (descriptor, limit2) => blob(files4, descriptor.digest, limit2),
    layer: (descriptor) => Effect6.tap(
      verified(files4, blobPath(descriptor.digest), descriptor, `The layer ${descriptor.digest} of ${name}`),
      (range) => Effect6.sync(() => {
        options2.onProgress({ _tag: "Layer", digest: descriptor.digest, received: range.length, bytes: range.length, cached: true });
      })
    ),
    stored: () => void 0,
    privateTo: Effect6.succeed(void 0)
  };
});
var blobPath = (digest) => `blobs/sha256/${hex(digest)}`;
var blob = (files4, digest, limit2) => digest === void 0 ? Effect6.fail(new ImageError(errorFields("LAYOUT_INVALID", `The layout ${files4.name} names no manifest`))) : read2(files4, blobPath(digest), limit2);

// src/backends/docker/Archive.ts
var dockerStore = (ref, options2) => {
  const { path: path3, tag } = pathAndTag(ref);
  return Effect7.flatMap(files(path3, options2), (members) => savedStore(members, tag, `docker-archive:${path3}${tag === void 0 ? "" : `:${tag}`}`, options2));
};
var ociStore = (ref, options2) => {
  const { path: path3, tag } = pathAndTag(ref);
  return Effect7.flatMap(files(path3, options2), (members) => storeOf(members, tag, "oci-archive", options2));
};
var Saved = Schema4.Array(
  Schema4.Struct({
    Config: Schema4.String,
    RepoTags: Schema4.NullishOr(Schema4.Array(Schema4.String)),
    Layers: Schema4.Array(Schema4.String)
  })
);
var savedStore = (members, tag, name, options2) => Effect7.gen(function* () {
  const invalid6 = (why) => new ImageError(errorFields("LAYOUT_INVALID", `manifest.json of ${members.name} is not what docker save writes${why}`));
  const json = yield* Either5.mapLeft(parse2(yield* read2(members, "manifest.json", options2.limits.manifestBytes)), (why) => invalid6(`: ${why}`));
  const images2 = yield* Schema4.decodeUnknown(Saved)(json).pipe(Effect7.mapError(() => invalid6("")));
  const tags2 = [...new Set(images2.flatMap((image3) => image3.RepoTags ?? []))];
  const chosen2 = tag === void 0 ? images2 : images2.filter((image3) => image3.RepoTags?.some((each) => each.endsWith(`:${tag}`)) === true);
  const [image2, another] = chosen2;
  if (image2 === void 0 || another !== void 0) {
    const there = printable(tags2.slice(0, 30).join(", ") || "no tag");
    return yield* new ImageError(
      errorFields("MANIFEST_NOT_FOUND", `The archive ${members.name} has ${image2 === void 0 ? "no image" : "several images"}${tag === void 0 ? "" : ` "${tag}"`}; its tags: ${there}`, {
        remedy: another !== void 0 && tag !== void 0 ? "Save the one that is meant alone." : "Name one: docker-archive:FILE:TAG."
      })
    );
  }
  const config = yield* read2(members, image2.Config, options2.limits.configBytes);
  const { rootfs } = yield* decodeConfig(config, name);
  if (rootfs.diff_ids.length !== image2.Layers.length) {
    return yield* new ImageError(
      errorFields("IMAGE_CONFIG_INVALID", `The configuration of ${name} lists ${rootfs.diff_ids.length} layers, its manifest ${image2.Layers.length}`)
    );
  }
  const ranges2 = /* @__PURE__ */ new Map();
  for (const [i, digest] of rootfs.diff_ids.entries()) ranges2.set(digest, yield* members.range(image2.Layers[i] ?? ""));
  const manifest = {
    schemaVersion: 2,
    config: { digest: ofBytes(config), size: config.length },
    layers: rootfs.diff_ids.map((digest) => ({ digest, size: ranges2.get(digest)?.length ?? 0 }))
  };
  const bytes2 = Buffer.from(JSON.stringify(manifest));
  return {
    name,
    manifest: () => Effect7.succeed({ bytes: bytes2, contentType: void 0 }),
    hasManifest: false,
    small: () => Effect7.succeed(config),
    layer: (descriptor) => {
      const range = ranges2.get(descriptor.digest);
      if (range === void 0) return Effect7.fail(new ImageError(errorFields("LAYOUT_INVALID", `${name} has no layer ${descriptor.digest}`)));
      options2.onProgress({ _tag: "Layer", digest: descriptor.digest, received: range.length, bytes: range.length, cached: true });
      return Effect7.succeed(range);
    },
    stored: () => void 0,
    privateTo: Effect7.succeed(void 0)
  };
});
var files = (path3, options2) => Effect7.gen(function* () {
  const given2 = yield* regular(path3).pipe(
    Effect7.mapError((error) => new ImageError(errorFields("MANIFEST_NOT_FOUND", error.what, { cause: error, remedy: "Name an archive file that this account can read." })))
  );
  const magic = Buffer.alloc(4);
  yield* Effect7.tryPromise({ try: () => given2.handle.read(magic, 0, 4, 0), catch: (error) => unreadable(path3, error) });
  const compressed = magic.readUInt16BE(0) === 8075 || magic.readUInt32LE(0) === 4247762216;
  const file = compressed ? nodePath5.join(options2.workspace.scratch, "archive.tar") : path3;
  if (compressed) yield* inflate(given2.handle.fd, path3, file, options2);
  const plain = compressed ? yield* regular(file) : given2;
  const members = yield* read(plain.handle, plain.size, path3, "LAYOUT_INVALID");
  const find3 = (name, links = 0) => {
    const member = members.get(name);
    return member?._tag === "Link" && links < 8 ? find3(member.target, links + 1) : member;
  };
  return {
    name: path3,
    has: (name) => Effect7.sync(() => find3(name)?._tag === "File"),
    range: (name) => {
      const member = find3(name);
      return member?._tag === "File" ? Effect7.succeed({ file, offset: member.offset, length: member.size }) : Effect7.fail(new ImageError(errorFields("LAYOUT_INVALID", `The archive ${path3} has no file "${printable(name)}"`)));
    }
  };
});
var inflate = (input, path3, file, options2) => Effect7.scoped(
  Effect7.gen(function* () {
    const unusable6 = (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The archive ${path3} can't be inflated to ${file}: ${messageOf(error)}`, { cause: error }));
    const out = yield* Effect7.acquireRelease(
      Effect7.tryPromise({ try: () => makeDirectory(options2.workspace.scratch, true).then(() => open4(file, "w", 384)), catch: unusable6 }),
      (handle) => Effect7.promise(() => handle.close())
    );
    const { inflatedBytes, ratio } = options2.limits;
    yield* run({
      name: "shifter-inflate",
      program: options2.workspace.program("shifter-inflate"),
      args: [String(inflatedBytes), String(ratio)],
      stdin: input,
      stdout: out.fd,
      purpose: "The archive can't be inflated",
      // It speaks of layers, and this is none.
      worded: (code, what) => errorFields(code === "LAYER_INVALID" ? "LAYOUT_INVALID" : code, `The archive ${path3}${code === "STORAGE_FULL" ? `, inflated to ${file}` : ""}: ${what}`)
    });
  })
);

// src/backends/docker/Budgets.ts
init_Errors();
init_Patience();
import * as Clock from "effect/Clock";
import * as Effect9 from "effect/Effect";
var SHORT = 1e3;
var make = () => {
  const buckets = /* @__PURE__ */ new Map();
  return {
    turn: (host2, budget, waiting) => budget === void 0 ? Effect9.void : Effect9.gen(function* () {
      const atOnce = Math.ceil(budget.requests / 2);
      const perMilli = (budget.requests - atOnce) / (budget.seconds * 1e3);
      const now = yield* Clock.currentTimeMillis;
      const bucket = buckets.get(host2) ?? { left: atOnce, at: now };
      buckets.set(host2, bucket);
      bucket.left = Math.min(atOnce, bucket.left + Math.max(0, now - bucket.at) * perMilli);
      bucket.at = now;
      const millis4 = Math.max(0, (1 - bucket.left) / perMilli);
      if (millis4 > LONGEST_WAIT) {
        const seconds8 = Math.ceil(millis4 / 1e3);
        const what = `The site's budget for ${host2}, ${budget.requests} requests in ${budget.seconds} s, is used up`;
        return yield* new Passing({ error: new ImageError(errorFields("REGISTRY_RATE_LIMITED", what, { remedy: `Retry in ${seconds8} s.`, retryAfter: seconds8 })), afterMillis: millis4 });
      }
      bucket.left -= 1;
      if (millis4 === 0) return;
      if (millis4 >= SHORT) waiting(millis4);
      yield* Effect9.sleep(millis4).pipe(Effect9.onInterrupt(() => Effect9.sync(() => void (bucket.left += 1))));
    })
  };
};

// src/backends/docker/Daemon.ts
init_Digest();
init_Errors();
init_ImageId();
init_ImageRef();
import { createWriteStream } from "node:fs";
import * as nodePath7 from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as Effect13 from "effect/Effect";
import * as Either8 from "effect/Either";
import * as Redacted2 from "effect/Redacted";
import * as Schema6 from "effect/Schema";

// src/backends/docker/DockerLogins.ts
import { spawn as spawn2 } from "node:child_process";
import { open as open6, readFile as readFile2, realpath, rename as rename2, rm as rm4 } from "node:fs/promises";
import * as nodePath6 from "node:path";
import * as Effect10 from "effect/Effect";
import * as Redacted from "effect/Redacted";
import * as Schema5 from "effect/Schema";
init_Errors();
var Entry = Schema5.Struct({
  auth: Schema5.optional(Schema5.String),
  username: Schema5.optional(Schema5.String),
  password: Schema5.optional(Schema5.String),
  identitytoken: Schema5.optional(Schema5.String)
});
var Helper = Schema5.String.pipe(Schema5.pattern(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, { message: () => "the name of a helper program, without docker-credential-" }));
var Config = Schema5.Struct(
  {
    auths: Schema5.optional(Schema5.Record({ key: Schema5.String, value: Entry })),
    credHelpers: Schema5.optional(Schema5.Record({ key: Schema5.String, value: Helper })),
    credsStore: Schema5.optional(Schema5.Union(Helper, Schema5.Literal("")))
  },
  // What else docker keeps there stays as it is.
  { key: Schema5.String, value: Schema5.Unknown }
);
var HelperAnswer = Schema5.parseJson(Schema5.Struct({ Username: Schema5.String, Secret: Schema5.String }));
var HELPER_MILLIS = 3e4;
var HELPER_OUTPUT = 64 * 1024;
var TOKEN_USER = "<token>";
var fileOf2 = (directory3) => nodePath6.join(directory3, "config.json");
var find = (directory3, host2) => Effect10.gen(function* () {
  const config = yield* read4(directory3);
  const helper = helperOf(config, host2);
  const answer = helper === void 0 ? void 0 : yield* run2(helper, "get", serverOf(host2));
  if (helper !== void 0 && answer?.status === 0) {
    const { Secret, Username } = yield* Schema5.decode(HelperAnswer)(answer.stdout).pipe(
      Effect10.mapError(() => failed(`The program docker-credential-${helper} did not answer with a login`))
    );
    return Username === TOKEN_USER ? { identityToken: Redacted.make(Secret) } : { username: Username, password: Redacted.make(Secret) };
  }
  const entry = Object.entries(config.auths ?? {}).find(([key]) => hostOf(key) === host2)?.[1];
  if (entry === void 0) return void 0;
  if (entry.identitytoken !== void 0 && entry.identitytoken !== "") return { identityToken: Redacted.make(entry.identitytoken) };
  if (entry.auth === void 0 || entry.auth === "") {
    return entry.username === void 0 || entry.password === void 0 ? void 0 : { username: entry.username, password: Redacted.make(entry.password) };
  }
  const text5 = Buffer.from(entry.auth, "base64").toString();
  const colon = text5.indexOf(":");
  if (colon < 1) return yield* failed(`The login of ${host2} in ${fileOf2(directory3)} is not valid`);
  return { username: text5.slice(0, colon), password: Redacted.make(text5.slice(colon + 1).replace(/\0+$/, "")) };
});
var hubHosts2 = /* @__PURE__ */ new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);
var hostOf = (key) => {
  const host2 = (key.replace(/^https?:\/\//, "").split("/")[0] ?? "").toLowerCase();
  return hubHosts2.has(host2) ? "docker.io" : host2;
};
var serverOf = (host2) => host2 === "docker.io" ? "https://index.docker.io/v1/" : host2;
var helperOf = (config, host2) => {
  const own4 = Object.entries(config.credHelpers ?? {}).find(([key]) => hostOf(key) === host2)?.[1];
  return own4 ?? (config.credsStore === "" ? void 0 : config.credsStore);
};
var failed = (what, cause) => new ImageError(errorFields("CONFIG_INVALID", what, { remedy: "Log in again with shifterimg login, or docker login.", cause }));
var text2 = (directory3) => readFile2(fileOf2(directory3), "utf8").catch((error) => {
  if (systemCode(error) === "ENOENT") return "{}";
  throw error;
});
var decode4 = (directory3, json) => Effect10.mapError(Schema5.decode(Schema5.parseJson(Config))(json), () => failed(`${fileOf2(directory3)} is no configuration of docker`));
var read4 = (directory3) => Effect10.tryPromise({ try: () => text2(directory3), catch: (error) => failed(`The logins in ${fileOf2(directory3)} can't be read: ${messageOf(error)}`, error) }).pipe(
  Effect10.flatMap((json) => decode4(directory3, json))
);
var run2 = (helper, action, input) => Effect10.async((resume) => {
  const program3 = `docker-credential-${helper}`;
  const child = spawn2(program3, [action], { stdio: ["pipe", "pipe", "ignore"] });
  const chunks = [];
  let size = 0;
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    resume(Effect10.fail(failed(`The program ${program3} did not answer within ${HELPER_MILLIS / 1e3} s`)));
  }, HELPER_MILLIS);
  child.stdout.on("data", (chunk) => {
    size += chunk.length;
    if (size > HELPER_OUTPUT) child.kill("SIGKILL");
    else chunks.push(chunk);
  });
  child.stdin.on("error", () => void 0);
  child.once("error", (error) => {
    clearTimeout(timer);
    resume(Effect10.fail(failed(`The program ${program3} can't be started: ${systemCode(error) ?? "unknown error"}`)));
  });
  child.once("close", (status) => {
    clearTimeout(timer);
    resume(Effect10.succeed({ status: status ?? 255, stdout: Buffer.concat(chunks).toString() }));
  });
  child.stdin.end(input);
  return Effect10.sync(() => {
    clearTimeout(timer);
    child.kill("SIGKILL");
  });
});

// src/backends/docker/DockerImage.ts
init_Digest();
init_Errors();
import * as Deferred from "effect/Deferred";
import * as Effect12 from "effect/Effect";
import * as Either7 from "effect/Either";
import * as Ref from "effect/Ref";

// src/core/Merge.ts
init_Digest();
init_Errors();
init_Limits();
init_Native();
init_Process();
init_RootfsStream();
import * as Effect11 from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Stream2 from "effect/Stream";
var write = (layers, output2, options2) => Effect11.scoped(
  Effect11.gen(function* () {
    const process2 = yield* scoped2(options2.program, argumentsOf(layers.length, options2), { stdin: "pipe", stdout: "pipe", further: [output2] }).pipe(
      Effect11.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `The layers can't be merged: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 })))
    );
    const ordering = yield* Effect11.fork(order(layers, process2));
    const outcome2 = yield* Effect11.raceFirst(
      reports(layers, process2, options2.onBytes),
      // A layer that can't be had ends the wait for the program; that all are ordered does not.
      Effect11.zipRight(Fiber.join(ordering), Effect11.never)
    );
    if (outcome2 === void 0) {
      return yield* new ImageError(ended("shifter-merge", yield* Effect11.promise(() => process2.exit)));
    }
    if (outcome2._tag === "Fault") return yield* outcome2.error;
    if (outcome2._tag === "PlanNeeded") return yield* new RestartNeeded();
    if (outcome2._tag === "OutputEnded") return yield* new OutputEnded();
    return outcome2.summary;
  })
);
var argumentsOf = (layers, { limits: limits2, plan, sample }) => [
  ...plan ? ["--plan"] : [],
  ...["--sample", sample],
  ...Object.entries({
    policy: filterPolicy,
    layers,
    inflated: limits2.inflatedBytes,
    ratio: limits2.ratio,
    entries: limits2.entries,
    "directory-entries": limits2.directoryEntries,
    depth: limits2.depth,
    "name-bytes": limits2.nameBytes
  }).flatMap(([name, value9]) => [`--${name}`, String(value9)])
];
var order = (layers, process2) => Effect11.gen(function* () {
  process2.stdin?.on("error", () => void 0);
  for (const [i, layer13] of [...layers.entries()].reverse()) {
    const { file, offset, length } = yield* layer13.blob;
    if (file.includes("\0")) return yield* new ImageError(errorFields("LAYER_INVALID", `${nameOf(layers, i)}: its file's name holds NUL`));
    process2.stdin?.write(orderOf(i, layer13, { file, offset, length }));
  }
  process2.stdin?.end();
});
var orderOf = (index, { diffId }, { file, length, offset }) => `${index} ${offset} ${length} ${diffId === void 0 ? "-" : hex(diffId)} ${file}\0`;
var outcomeOf = (layers, line) => {
  const [word2, first = "", second = "", ...others2] = line.split(" ");
  switch (word2) {
    case "done":
      return { _tag: "Done", summary: { inodes: Number(second), dropped: Number(others2[0]), contents: others2[1] } };
    case "plan-needed":
      return { _tag: "PlanNeeded" };
    case "output-ended":
      return { _tag: "OutputEnded" };
    case "fault": {
      const layer13 = Number(first);
      const code = isErrorCode(second) ? second : "INTERNAL";
      const what = printable(others2.join(" "));
      return { _tag: "Fault", error: new ImageError(errorFields(code, layer13 < 0 ? what : `${nameOf(layers, layer13)}: ${what}`)) };
    }
    default:
      return void 0;
  }
};
var reports = (layers, process2, onBytes) => lines(process2).pipe(
  Stream2.map((line) => {
    const [, bytes2] = /^(?:progress|done) (\d+)/.exec(line) ?? [];
    if (bytes2 !== void 0) onBytes(Number(bytes2));
    return outcomeOf(layers, line);
  }),
  Stream2.runFold(void 0, (last, outcome2) => outcome2 ?? last)
);
var nameOf = (layers, index) => `Layer ${index + 1} of ${layers.length} (${layers[index]?.digest.slice(0, 19) ?? "?"}\u2026)`;

// src/backends/docker/DockerImage.ts
init_Platform();
var PARALLEL_LAYERS = 4;
var LARGE = 16 * 1024 * 1024;
var HEAD_START = "500 millis";
var resolve2 = (store3, options2) => Effect12.gen(function* () {
  const { limits: limits2 } = options2;
  const found = yield* findManifest(store3, options2);
  const manifest = found.manifest;
  if (manifest.layers.length > limits2.layers) {
    return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${store3.name} has ${manifest.layers.length} layers, more than ${limits2.layers}`));
  }
  const blobBytes = manifest.layers.reduce((sum, layer13) => sum + layer13.size, 0);
  if (blobBytes > limits2.blobBytes) {
    return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The layers of ${store3.name} have ${blobBytes} bytes, more than ${limits2.blobBytes}`));
  }
  if (manifest.config.size > limits2.configBytes) {
    return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The configuration of ${store3.name} has ${manifest.config.size} bytes, more than ${limits2.configBytes}`));
  }
  const configBytes = yield* store3.small(manifest.config, limits2.configBytes);
  if (configBytes.length !== manifest.config.size) {
    return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The configuration of ${store3.name} has ${configBytes.length} bytes, and its manifest says ${manifest.config.size}`));
  }
  if (ofBytes(configBytes) !== manifest.config.digest) {
    return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The configuration of ${store3.name} is not what its digest ${manifest.config.digest} says`));
  }
  const config = yield* decodeConfig(configBytes, store3.name);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    return yield* new ImageError(
      errorFields("IMAGE_CONFIG_INVALID", `The configuration of ${store3.name} lists ${diffIds.length} layers, its manifest ${manifest.layers.length}`)
    );
  }
  const offered2 = yield* platformOf(config, options2.platform, store3.name);
  const metadata = yield* metadataOf(config, store3.name);
  const restarted2 = yield* Ref.make(false);
  const variant = yield* store3.privateTo;
  return {
    sourceDigest: manifest.config.digest,
    variant,
    manifestDigest: store3.hasManifest ? found.digest : void 0,
    platform: offered2,
    metadata,
    isPrivate: variant !== void 0,
    blobs: manifest.layers.map((layer13) => ({ digest: layer13.digest, bytes: layer13.size, stored: store3.stored(layer13.digest) })),
    open: open7(store3, manifest.layers, diffIds, options2, restarted2)
  };
});
var findManifest = (store3, options2, entry, depth = 0) => Effect12.gen(function* () {
  const { bytes: bytes2, contentType } = yield* store3.manifest(entry?.digest);
  const actual = ofBytes(bytes2);
  if (entry !== void 0 && actual !== entry.digest) {
    return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The manifest of ${store3.name} is not what its digest ${entry.digest} says`));
  }
  if (entry !== void 0 && bytes2.length !== entry.size) {
    return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The manifest ${entry.digest} of ${store3.name} has ${bytes2.length} bytes, and its index says ${entry.size}`));
  }
  const document = yield* decodeDocument(bytes2, contentType, store3.name);
  if (document.kind === "manifest") return { digest: actual, manifest: document.manifest };
  if (depth >= 2) return yield* new ImageError(errorFields("MANIFEST_INVALID", `The index of ${store3.name} is nested too deep`));
  const chosen2 = choose(document.index, options2.platform);
  if (chosen2 === void 0) {
    const offered2 = [...new Set(document.index.manifests.flatMap((m) => m.platform === void 0 ? [] : [format({ ...m.platform, variant: m.platform.variant })]))].filter((text5) => !text5.startsWith("unknown/")).slice(0, 30);
    return yield* new ImageError(
      errorFields("PLATFORM_NOT_FOUND", `${store3.name} is not offered for ${format(options2.platform)}${offered2.length === 0 ? ", and its index names no other platform" : `, only for ${printable(offered2.join(", "))}`}`)
    );
  }
  return yield* findManifest(store3, options2, chosen2, depth + 1);
});
var choose = (index, wanted) => {
  let best;
  for (const entry of index.manifests) {
    if (entry.platform === void 0) continue;
    const fitness2 = fitness(wanted, { ...entry.platform, variant: entry.platform.variant });
    if (fitness2 !== void 0 && fitness2 > (best?.fitness ?? 0)) best = { digest: entry.digest, size: entry.size, fitness: fitness2 };
  }
  const only = index.manifests.length === 1 ? index.manifests[0] : void 0;
  return best ?? (only?.platform === void 0 ? only : void 0);
};
var platformOf = (config, wanted, where) => {
  const offered2 = { os: config.os ?? "linux", architecture: config.architecture, variant: config.variant };
  return fitness(wanted, offered2) === void 0 ? Either7.left(
    new ImageError(
      errorFields("PLATFORM_NOT_FOUND", `${where} is for ${printable(format(offered2))}, not for ${format(wanted)}`, {
        remedy: `Pull it with --platform ${printable(format(offered2))}, if the cluster runs that.`
      })
    )
  ) : Either7.right(offered2);
};
var metadataOf = (config, where) => {
  const invalid6 = (why) => Either7.left(new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The image configuration of ${where} is not valid: ${why}`)));
  const c = config.config ?? {};
  const env = c.Env ?? [];
  const words = [...env, ...c.Entrypoint ?? [], ...c.Cmd ?? [], c.WorkingDir ?? "", ...(c.Labels ?? []).flat()];
  if (words.some((word2) => word2.includes("\0") || /\p{Surrogate}/u.test(word2))) return invalid6("a text in it holds NUL or is no Unicode");
  const nameless = env.find((entry) => !/^[^=]+=/.test(entry));
  if (nameless !== void 0) return invalid6(`the environment entry "${nameless.slice(0, 100)}" is not NAME=VALUE`);
  const workdir = c.WorkingDir ?? "";
  if (workdir !== "" && !workdir.startsWith("/")) return invalid6(`the working directory "${workdir.slice(0, 100)}" is not absolute`);
  return Either7.right({
    env,
    entrypoint: c.Entrypoint ?? [],
    command: c.Cmd ?? [],
    ...workdir === "" ? {} : { workdir },
    labels: c.Labels ?? []
  });
};
var ahead = (line, fetch3) => Effect12.scoped(
  Effect12.gen(function* () {
    const release2 = yield* Effect12.once(line.release(1));
    yield* Effect12.acquireRelease(Effect12.interruptible(line.take(1)), () => release2);
    yield* Effect12.forkScoped(Effect12.delay(release2, HEAD_START));
    return yield* fetch3;
  })
);
var open7 = (store3, layers, diffIds, { limits: limits2, workspace }, restarted2) => Effect12.gen(function* () {
  const blobs = /* @__PURE__ */ new Map();
  for (const layer13 of layers) if (!blobs.has(layer13.digest)) blobs.set(layer13.digest, yield* Deferred.make());
  const newestFirst = [...layers].reverse().filter((layer13, i, all7) => all7.findIndex((other) => other.digest === layer13.digest) === i);
  const awaited = (digest) => Effect12.flatMap(Effect12.fromNullable(blobs.get(digest)), Deferred.await).pipe(Effect12.catchTag("NoSuchElementException", Effect12.die));
  const line = yield* Effect12.makeSemaphore(1);
  const fetching = yield* Effect12.forEach(
    newestFirst,
    (layer13) => {
      const blob2 = blobs.get(layer13.digest);
      const fetch3 = layer13.size < LARGE ? store3.layer(layer13) : ahead(line, store3.layer(layer13));
      return blob2 === void 0 ? Effect12.void : Effect12.tap(fetch3, (range) => Deferred.succeed(blob2, range));
    },
    { concurrency: PARALLEL_LAYERS, discard: true }
  ).pipe(
    // A layer that can't be had ends the wait for all others, whose fetches are interrupted.
    Effect12.tapError((error) => Effect12.forEach(blobs.values(), (blob2) => Deferred.fail(blob2, error))),
    Effect12.tapDefect((defect) => Effect12.forEach(blobs.values(), (blob2) => Deferred.failCause(blob2, defect))),
    Effect12.forkScoped
  );
  const mergeable = layers.map((layer13, i) => ({ digest: layer13.digest, diffId: diffIds[i] ?? layer13.digest, blob: awaited(layer13.digest) }));
  return {
    layers: mergeable,
    write: (output2, onBytes) => Effect12.flatMap(Ref.get(restarted2), (plan) => write(mergeable, output2, { program: workspace.program("shifter-merge"), limits: limits2, sample: workspace.sample, plan, onBytes })).pipe(
      Effect12.tapErrorTag("RestartNeeded", () => Ref.set(restarted2, true))
    ),
    fetched: fetching.await.pipe(Effect12.flatten)
  };
});

// src/backends/docker/Daemon.ts
var Inspected = Schema6.Struct({
  Id: Digest,
  Os: Schema6.String,
  Architecture: Schema6.String,
  Variant: Schema6.optional(Schema6.String),
  Config: Schema6.Unknown,
  RootFS: Schema6.Struct({ Type: Schema6.Literal("layers"), Layers: Schema6.optional(Schema6.Array(Digest)) }),
  Descriptor: Schema6.optional(Schema6.Unknown)
});
var Info = Schema6.Struct({ DriverStatus: Schema6.optional(Schema6.NullOr(Schema6.Array(Schema6.Array(Schema6.String)))) });
var isContentStore = (docker, inspected, failed6) => inspected.Descriptor !== void 0 ? Effect13.succeed(true) : Effect13.tryPromise({ try: () => docker.info(), catch: failed6 }).pipe(
  Effect13.flatMap(Schema6.decodeUnknown(Info)),
  Effect13.map(({ DriverStatus }) => DriverStatus?.some(([name, value9]) => name === "driver-type" && value9?.startsWith("io.containerd.") === true) === true),
  Effect13.catchTag("ParseError", () => Effect13.succeed(false))
);
var resolve3 = (settings4, ref, options2, pull2) => Effect13.gen(function* () {
  const { host: host2, repository, tag, digest } = yield* Either8.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)));
  const name = `${host2}/${repository}${digest === void 0 ? `:${tag ?? "latest"}` : `@${digest}`}`;
  const { default: Client } = yield* Effect13.promise(() => import("dockerode"));
  const docker = new Client({ socketPath: settings4.socket });
  const asking = new Client({ socketPath: settings4.socket, timeout: (settings4.headersSeconds ?? 60) * 1e3 });
  const failed6 = (error) => refused(error, name, settings4.socket);
  const isPrivate = pull2 !== void 0 && (yield* pulledBy(docker, { host: host2, repository, reference: digest ?? tag ?? "latest" }, options2, pull2.login, failed6));
  const variant = isPrivate ? privateTo(host2, repository) : void 0;
  const answer = yield* Effect13.tryPromise({ try: () => asking.getImage(name).inspect(), catch: failed6 });
  const inspected = yield* Schema6.decodeUnknown(Inspected)(answer).pipe(
    Effect13.mapError((error) => new ImageError(errorFields("IMAGE_CONFIG_INVALID", `The Docker daemon's description of ${name} is not valid: ${printable(error.message)}`)))
  );
  const saved = Effect13.gen(function* () {
    const file = nodePath7.join(options2.workspace.scratch, "daemon.tar");
    yield* save(docker, inspected.Id, file, failed6);
    return yield* files(file, options2);
  });
  if (yield* isContentStore(asking, inspected, failed6)) {
    const store3 = yield* storeOf(yield* saved, { digest: inspected.Id }, "oci-archive", options2);
    return yield* resolve2({ ...store3, name: `docker-daemon:${name}`, privateTo: Effect13.succeed(variant) }, options2);
  }
  const config = yield* decodeConfig(
    Buffer.from(
      JSON.stringify({
        os: inspected.Os,
        architecture: inspected.Architecture,
        ...inspected.Variant ? { variant: inspected.Variant } : {},
        config: inspected.Config,
        rootfs: { type: "layers", diff_ids: inspected.RootFS.Layers ?? [] }
      })
    ),
    name
  );
  return {
    sourceDigest: inspected.Id,
    variant,
    manifestDigest: void 0,
    platform: yield* platformOf(config, options2.platform, name),
    metadata: yield* metadataOf(config, name),
    isPrivate,
    blobs: (inspected.RootFS.Layers ?? []).map((layer13) => ({ digest: layer13, bytes: 0, stored: void 0 })),
    open: Effect13.gen(function* () {
      const store3 = yield* savedStore(yield* saved, void 0, `docker-daemon:${name}`, options2);
      const image2 = yield* resolve2(store3, options2);
      if (image2.sourceDigest !== inspected.Id) {
        return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The Docker daemon gave the configuration ${image2.sourceDigest} for ${name}, which is ${inspected.Id}`));
      }
      return yield* image2.open;
    })
  };
});
var save = (docker, id, file, failed6) => Effect13.tryPromise({
  try: async (signal) => {
    const stream2 = await docker.getImage(id).get();
    await pipeline(stream2, createWriteStream(file, { flags: "w", mode: 384 }), { signal });
  },
  catch: (error) => {
    const full = storageCode(error, "INTERNAL") === "STORAGE_FULL";
    return full ? new ImageError(errorFields("STORAGE_FULL", `The image can't be stored at ${file}: ${messageOf(error)}`, { cause: error })) : failed6(error);
  }
});
var Said = Schema6.Struct({ error: Schema6.optional(Schema6.String) });
var pulledBy = (docker, image2, options2, login, failed6) => Effect13.catchIf(
  Effect13.as(pulled(docker, image2, options2, void 0, failed6), false),
  (error) => error.code === "MANIFEST_NOT_FOUND" || error.code === "REGISTRY_UNAUTHORIZED",
  (refusal5) => Effect13.flatMap(login, (found) => found === void 0 ? Effect13.fail(refusal5) : Effect13.as(pulled(docker, image2, options2, found, failed6), true))
);
var pulled = (docker, image2, options2, login, failed6) => Effect13.gen(function* () {
  const { os, architecture, variant } = options2.platform;
  const platform = [os, architecture, ...variant === void 0 ? [] : [variant]].join("/");
  const request = { fromImage: `${image2.host}/${image2.repository}`, tag: image2.reference, platform };
  const auth = login && {
    serveraddress: serverOf(image2.host),
    ..."identityToken" in login ? { identitytoken: Redacted2.value(login.identityToken) } : { username: login.username, password: Redacted2.value(login.password) }
  };
  const stream2 = yield* Effect13.acquireRelease(
    Effect13.tryPromise({ try: () => auth === void 0 ? docker.createImage(request) : docker.createImage(auth, request), catch: failed6 }),
    (each) => Effect13.sync(() => each instanceof Readable ? void each.destroy() : void 0)
  );
  const events = yield* Effect13.async((resume) => {
    docker.modem.followProgress(stream2, (error, output2) => resume(error === null ? Effect13.succeed(output2) : Effect13.fail(failed6(error))));
  });
  for (const event of events) {
    const said4 = yield* Schema6.decodeUnknown(Said)(event).pipe(Effect13.orElseSucceed(() => ({})));
    if (said4.error !== void 0) return yield* failed6(new Error(said4.error));
  }
}).pipe(Effect13.scoped);
var refused = (error, name, socket) => {
  const status = typeof error === "object" && error !== null && "statusCode" in error ? error.statusCode : void 0;
  const code = systemCode(error);
  if (status === 401 || status === 403 || /unauthorized|authentication required|no basic auth credentials|access denied|access forbidden/i.test(messageOf(error))) {
    return new ImageError(errorFields("REGISTRY_UNAUTHORIZED", `The Docker daemon was refused ${name}: ${printable(messageOf(error))}`, { cause: error }));
  }
  if (status === 404 || /no such image|manifest unknown|not found/i.test(messageOf(error))) {
    return new ImageError(errorFields("MANIFEST_NOT_FOUND", `The Docker daemon has no image ${name}`, { cause: error }));
  }
  if (code === "ECONNRESET") return new ImageError(errorFields("REGISTRY_TIMEOUT", `The Docker daemon at ${socket} did not answer, or broke off`, { cause: error }));
  return code === "ENOENT" || code === "ECONNREFUSED" || code === "EACCES" ? new ImageError(
    errorFields("REGISTRY_UNREACHABLE", `The Docker daemon can't be reached at ${socket} (${code})`, {
      remedy: "Start it, name its socket in the configuration (dockerDaemon.socket), or ask for access to it.",
      cause: error
    })
  ) : new ImageError(errorFields("REGISTRY_ERROR", `The Docker daemon refused ${name}: ${printable(messageOf(error))}`, { cause: error }));
};

// src/backends/docker/Registry.ts
init_BlobStore();
init_Digest();
init_Errors();
init_ImageId();
init_ImageRef();
import * as Effect18 from "effect/Effect";
import * as Either9 from "effect/Either";

// src/backends/docker/Endpoints.ts
import * as Effect14 from "effect/Effect";
var ours = /* @__PURE__ */ new Set(["STORAGE_FULL", "STATE_UNUSABLE", "CONFIG_INVALID"]);
var make6 = (mirrors, registry2) => {
  const down = /* @__PURE__ */ new Set();
  return {
    use: (f) => {
      const from = (i) => {
        const client = mirrors[i];
        if (client === void 0) return f(registry2);
        if (down.has(client)) return from(i + 1);
        return Effect14.catchAll(f(client), (failure) => {
          if (failure._tag === "ImageError" && ours.has(failure.code)) return Effect14.fail(failure);
          if (failure._tag === "Passing" || failure.code !== "MANIFEST_NOT_FOUND") down.add(client);
          return from(i + 1);
        });
      };
      return from(0);
    },
    distrustMirrors: (failure) => {
      if (ours.has(failure.code)) return false;
      const before = down.size;
      mirrors.forEach((mirror) => down.add(mirror));
      return down.size > before;
    },
    decided: Effect14.map(Effect14.forEach([...mirrors, registry2], (client) => client.decided), (all7) => all7.includes(true))
  };
};

// src/backends/docker/LayerFetch.ts
init_BlobStore();
init_Digest();
init_Disk();
init_Errors();
init_BlobFile();
init_EntityTag();
init_Patience();
import { createHash as createHash7 } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile as readFile3, rename as rename4, rm as rm6, stat as stat2, utimes, writeFile } from "node:fs/promises";
import * as nodePath9 from "node:path";
import * as Data4 from "effect/Data";
import * as Effect15 from "effect/Effect";
import * as Fiber2 from "effect/Fiber";
import * as Schema7 from "effect/Schema";
import * as Stream3 from "effect/Stream";
var LARGE2 = 256 * 1024 * 1024;
var PART = 128 * 1024 * 1024;
var PARALLEL_PARTS = 4;
var State = Schema7.parseJson(
  Schema7.Struct({
    version: Schema7.Literal(1),
    /** Strong entity tag of what was received, so that no other bytes are joined to it. */
    etag: Schema7.optional(Schema7.String),
    /** Size of parts, and which are here; without them the file holds the beginning. */
    part: Schema7.optional(Schema7.Int.pipe(Schema7.positive())),
    done: Schema7.Array(Schema7.Int)
  })
);
var fetch = (source, descriptor, workspace) => Effect15.gen(function* () {
  const { digest, size } = descriptor;
  const file = nodePath9.join(workspace.blobs, nameOf2(source.domain, digest));
  const here2 = yield* Effect15.promise((signal) => isWhole(file, descriptor, signal));
  if (here2) {
    source.onBytes(descriptor, size, true);
    return { file, offset: 0, length: size };
  }
  const partial2 = partialOf(workspace.scratch, source.domain, digest);
  const failed6 = storing(digest, partial2.file);
  const kept = yield* failed6(() => claim(partial2, partialOf(workspace.partials, source.domain, digest), workspace.scratch));
  yield* Effect15.scoped(
    Effect15.gen(function* () {
      const out = yield* Effect15.acquireRelease(
        failed6(() => BlobFile.open(partial2.file)),
        (opened8) => Effect15.promise(() => opened8.close().catch(() => void 0))
      );
      const layer13 = new LayerTransfer(source, descriptor, out, partial2.state, kept);
      yield* layer13.run;
    })
  );
  yield* failed6(async () => {
    await put(partial2.file, file);
    await rm6(partial2.state, { force: true });
  });
  return { file, offset: 0, length: size };
});
var isWhole = async (file, { digest, size }, signal) => {
  const found = await stat2(file).catch(() => void 0);
  if (found?.size !== size) return false;
  const hash2 = createHash7("sha256");
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024, signal })) hash2.update(chunk);
    await utimes(file, /* @__PURE__ */ new Date(), /* @__PURE__ */ new Date());
  } catch {
    return false;
  }
  return hash2.digest("hex") === hex(digest);
};
var claim = async (mine, left17, scratch) => {
  await makeDirectory(scratch, true);
  try {
    await rename4(left17.state, mine.state);
    await rename4(left17.file, mine.file);
    return Schema7.decodeSync(State)(await readFile3(mine.state, "utf8"));
  } catch {
    await rm6(mine.file, { force: true });
    return void 0;
  }
};
var storing = (digest, file) => (f) => Effect15.tryPromise({
  try: f,
  catch: (error) => error instanceof ImageError ? error : new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The layer ${digest} can't be stored at ${file}: ${messageOf(error)}`, { cause: error }))
});
var isDone = (part) => part.received === part.end - part.start;
var Unjoinable = class extends Data4.TaggedError("Unjoinable") {
};
var LayerTransfer = class {
  constructor(source, descriptor, out, stateFile, kept) {
    this.source = source;
    this.descriptor = descriptor;
    this.out = out;
    this.stateFile = stateFile;
    this.kept = kept;
    this.storing = storing(descriptor.digest, stateFile);
    this.etag = kept?.etag;
    this.isSaved = kept !== void 0;
    const { size } = descriptor;
    if (kept?.part !== void 0) this.divide(kept.part, new Set(kept.done));
    else this.divide(kept === void 0 && size > LARGE2 ? PART : size, /* @__PURE__ */ new Set(), kept === void 0 ? 0 : Math.min(out.found, size));
  }
  source;
  descriptor;
  out;
  stateFile;
  kept;
  parts = [];
  received = 0;
  etag;
  isSaved;
  encoding = "";
  storing;
  get run() {
    const { descriptor, out, source } = this;
    const once3 = Effect15.suspend(() => this.parts.length === 1 ? this.inOrder : this.beside).pipe(
      Effect15.catchTag(
        "Unjoinable",
        ({ why }) => Effect15.zipRight(
          this.storing(this.anew),
          new Passing({ error: new ImageError(errorFields("REGISTRY_ERROR", `The layer ${descriptor.digest} of ${source.name} can't be fetched: ${why}`)) })
        )
      ),
      (all7) => patiently(all7, { progress: () => this.received, waiting: source.waiting })
    );
    const checked2 = Effect15.gen(this, function* () {
      yield* once3;
      const actual = yield* this.storing(() => out.finish(descriptor.size));
      if (actual === hex(descriptor.digest)) return;
      yield* this.storing(this.anew);
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${descriptor.digest} of ${source.name} arrived as sha256:${actual}${this.encoding}`));
    });
    let mayBeWrong = this.kept !== void 0;
    const again2 = Effect15.catchIf(
      checked2,
      (error) => {
        const isWrong = error.code === "DIGEST_MISMATCH";
        const retried = isWrong && mayBeWrong || source.endpoints.distrustMirrors(error);
        mayBeWrong = retried && !isWrong;
        return retried;
      },
      () => again2
    );
    return again2;
  }
  divide(bytes2, done2, beginning = 0) {
    const { size } = this.descriptor;
    const step = Math.max(1, bytes2);
    this.parts = Array.from({ length: Math.max(1, Math.ceil(size / step)) }, (_, i) => {
      const start2 = i * step;
      const end = Math.min(size, start2 + step);
      return { start: start2, end, received: done2.has(i) ? end - start2 : i === 0 ? Math.min(beginning, end) : 0 };
    });
    this.received = this.parts.reduce((sum, part) => sum + part.received, 0);
  }
  /** Forgets what is here. The next try is in one piece. */
  anew = async () => {
    this.etag = void 0;
    this.isSaved = false;
    await this.out.restart();
    this.divide(this.descriptor.size, /* @__PURE__ */ new Set());
  };
  /** Remembers what is here, for a process that comes after this one. */
  save = () => {
    this.isSaved = true;
    const first = this.parts[0];
    const state = {
      version: 1,
      ...this.etag === void 0 ? {} : { etag: this.etag },
      ...this.parts.length === 1 || first === void 0 ? {} : { part: first.end },
      done: this.parts.flatMap((part, i) => isDone(part) ? [i] : [])
    };
    return writeFile(this.stateFile, Schema7.encodeSync(State)(state), { mode: 384 });
  };
  /** The blob from its beginning, or from where it was cut off. */
  get inOrder() {
    return this.permitted(
      Effect15.gen(this, function* () {
        const [part] = this.parts;
        if (part === void 0 || isDone(part) && part.end > 0) return;
        yield* this.take(yield* this.ask(part), part);
      })
    );
  }
  /** All parts, some at a time. Whether there are ranges is known from the first answer. */
  get beside() {
    return Effect15.scoped(
      Effect15.gen(this, function* () {
        const scope5 = yield* Effect15.scope;
        const [first, ...others2] = this.parts.filter((part) => !isDone(part));
        this.follow();
        if (first === void 0) return;
        const rest = yield* this.permitted(
          Effect15.gen(this, function* () {
            const answer = yield* this.ask(first);
            if (answer.status === 200) {
              yield* this.storing(this.anew);
              const [whole2 = first] = this.parts;
              yield* this.take(answer, whole2);
              return void 0;
            }
            const forked = yield* Effect15.forkIn(Effect15.forEach(others2, (part) => this.part(part), { concurrency: PARALLEL_PARTS - 1, discard: true }), scope5);
            yield* Effect15.catchTag(this.take(answer, first), "Passing", () => Effect15.void);
            return forked;
          })
        );
        if (rest === void 0) return;
        if (!isDone(first)) yield* this.part(first);
        yield* Fiber2.join(rest);
      })
    );
  }
  part(part) {
    return patiently(
      this.permitted(
        Effect15.gen(this, function* () {
          const answer = yield* this.ask(part);
          if (answer.status === 200) return yield* new Unjoinable({ why: `${answer.host} gave a part of it, and then no other` });
          yield* this.take(answer, part);
        })
      ),
      { progress: () => part.received, waiting: this.source.waiting }
    );
  }
  permitted(effect7) {
    return this.source.transfers.withPermits(1)(Effect15.scoped(effect7));
  }
  /** Asks for the rest of a part. The answer may be the whole blob (200) instead. */
  ask(part) {
    return Effect15.gen(this, function* () {
      const { digest, size } = this.descriptor;
      const from = part.start + part.received;
      const isRange = from > 0 || part.end < size;
      const last = part.end - 1;
      const answer = yield* this.source.endpoints.use(
        (client) => client.get(`blobs/${digest}`, {
          statuses: [200, 206, 416],
          headers: isRange ? { range: `bytes=${from}-${last}`, ...this.etag === void 0 ? {} : { "if-range": this.etag } } : {}
        })
      );
      const { headers, host: host2, status } = answer;
      const encoding = headers["content-encoding"];
      if (encoding !== void 0 && encoding !== "identity") this.encoding = `; ${host2} sent it with Content-Encoding "${printable(encoding)}"`;
      const tag = strong(headers["etag"]);
      if (status === 200) {
        const length = headers["content-length"];
        if (length !== void 0 && Number(length) !== size) {
          return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The layer ${digest} of ${this.source.name} has ${printable(length)} bytes, and its manifest says ${size}`));
        }
        if (part.received > 0) {
          yield* this.storing(() => this.out.restart());
          this.received -= part.received;
          part.received = 0;
        }
      } else {
        const range = headers["content-range"] ?? "";
        if (!isRange || status === 416 || !new RegExp(`^bytes ${from}-${last}/(?:${size}|\\*)$`).test(range)) {
          return yield* new Unjoinable({ why: `${host2} was asked for bytes ${from} to ${last} of ${size} and answered HTTP ${status} with Content-Range "${printable(range)}"` });
        }
        if (tag !== void 0 && this.etag !== void 0 && tag !== this.etag) return yield* new Unjoinable({ why: `${host2} gave parts of two different blobs (another ETag)` });
      }
      if (!this.isSaved || tag !== this.etag) {
        this.etag = tag;
        yield* this.storing(this.save);
      }
      return answer;
    });
  }
  take(answer, part) {
    const { digest, size } = this.descriptor;
    const failed6 = (code, what) => new ImageError(errorFields(code, `The layer ${digest} of ${this.source.name} ${what}`));
    return Effect15.gen(this, function* () {
      if (part.start === 0) yield* this.storing(() => this.out.follow(part.received));
      const writer = this.out.writer(part.start + part.received);
      const receive = async (chunks) => {
        for (const chunk of chunks) {
          if (part.received + chunk.length > part.end - part.start) throw failed6("DIGEST_MISMATCH", `is larger than the ${size} bytes its manifest says`);
          await writer.write(chunk);
          part.received += chunk.length;
          this.received += chunk.length;
        }
        this.source.onBytes(this.descriptor, this.received, false);
      };
      yield* Effect15.ensuring(
        Stream3.runForEachChunk(answer.stream, (chunks) => Effect15.uninterruptible(this.storing(() => receive(chunks)))),
        // What has come is kept, however it ended.
        Effect15.promise(() => writer.flush().catch(() => void 0))
      );
      yield* this.storing(() => writer.flush());
      if (!isDone(part)) return yield* new Passing({ error: failed6("REGISTRY_UNREACHABLE", `ended after ${this.received} of ${size} bytes`) });
      if (this.parts.length === 1) return;
      this.follow();
      yield* this.storing(this.save);
    });
  }
  /** Hashes what is here without a gap from the beginning. */
  follow() {
    const gap = this.parts.find((part) => !isDone(part));
    void this.out.follow(gap?.start ?? this.descriptor.size);
  }
};

// src/backends/docker/Registry.ts
init_Patience();

// src/backends/docker/RegistryClient.ts
init_Errors();
init_Address();
import * as HttpBody from "@effect/platform/HttpBody";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import * as Clock3 from "effect/Clock";
import * as Effect17 from "effect/Effect";
import * as Option from "effect/Option";
import * as Redacted4 from "effect/Redacted";
import * as Ref3 from "effect/Ref";
import * as Schema9 from "effect/Schema";
import * as Stream4 from "effect/Stream";

// src/backends/docker/Authentication.ts
init_Errors();
import { createHash as createHash8 } from "node:crypto";
import * as Clock2 from "effect/Clock";
import * as Effect16 from "effect/Effect";
import * as Redacted3 from "effect/Redacted";
import * as Ref2 from "effect/Ref";
import * as Schema8 from "effect/Schema";

// src/backends/docker/Challenge.ts
var parse4 = (header) => {
  const found = /(?:^|,\s*)(bearer|basic)(?:\s+|$)/i.exec(header);
  const parameters = /* @__PURE__ */ new Map();
  if (found === null) return { scheme: "", parameters };
  const rest = header.slice(found.index + found[0].length);
  const parameter = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)/y;
  for (let match4 = parameter.exec(rest); match4 !== null; match4 = parameter.exec(rest)) {
    parameters.set((match4[1] ?? "").toLowerCase(), match4[2]?.replace(/\\(.)/g, "$1") ?? match4[3] ?? "");
  }
  return { scheme: (found[1] ?? "").toLowerCase(), parameters };
};

// src/backends/docker/Authentication.ts
var TokenAnswer = Schema8.parseJson(
  Schema8.Struct({
    token: Schema8.optional(Schema8.NullOr(Schema8.String)),
    access_token: Schema8.optional(Schema8.NullOr(Schema8.String)),
    expires_in: Schema8.optional(Schema8.NullOr(Schema8.Number)),
    issued_at: Schema8.optional(Schema8.NullOr(Schema8.String))
  })
);
var MARGIN = 1e4;
var DEFAULT_SECONDS = 60;
var TOKENS_KEPT = 1e3;
var make9 = (options2) => Effect16.gen(function* () {
  const { where } = options2;
  const held = yield* Ref2.make(void 0);
  const asked2 = yield* Ref2.make(void 0);
  const isPublic = yield* Ref2.make(false);
  const one = yield* Effect16.makeSemaphore(1);
  const obtain = (challenge, how, sent) => Effect16.gen(function* () {
    const login = how === "login" ? yield* options2.login : void 0;
    if (how === "login" && login === void 0) return void 0;
    if (challenge.scheme === "basic") return login === void 0 ? void 0 : basic(login);
    const realm = challenge.parameters.get("realm") ?? "";
    if (!URL.canParse(realm)) return yield* unauthorized(`${where} names no token service`);
    const service2 = challenge.parameters.get("service");
    const key = createHash8("sha256").update(JSON.stringify([realm, service2, options2.scope, login === void 0 ? null : secretOf(login)])).digest("hex");
    const now = yield* Clock2.currentTimeMillis;
    const cached5 = options2.tokens.get(key);
    if (cached5 !== void 0 && cached5.expires > now && cached5 !== sent) return cached5;
    const answer = yield* options2.ask(tokenRequest(new URL(realm), service2, options2.scope, login));
    if (answer === void 0) return void 0;
    const authorization2 = yield* tokenOf(answer, how, now).pipe(
      Effect16.mapError(() => new ImageError(errorFields("REGISTRY_ERROR", `The token service ${new URL(realm).host} did not answer with a token`)))
    );
    if (options2.tokens.size >= TOKENS_KEPT) options2.tokens.clear();
    options2.tokens.set(key, authorization2);
    return authorization2;
  });
  const ways = (sent, tried, scheme) => {
    const possible = options2.loginOnly || scheme === "basic" ? ["login"] : sent?.how === "login" ? ["login"] : ["anonymous", "login"];
    return possible.filter((how) => !tried.has(how));
  };
  const refused7 = (sent, tried) => Effect16.gen(function* () {
    if (tried.has("login") || sent?.how === "login") return yield* unauthorized(`${where} refused the user name or password`);
    if (yield* Ref2.get(isPublic)) return yield* unauthorized(`${where} was given to everyone a moment ago and is not any more`);
    return yield* unauthorized(`${where} is not given to everyone, or does not exist`);
  });
  return {
    current: (tried) => one.withPermits(1)(
      Effect16.gen(function* () {
        const authorization2 = yield* Ref2.get(held);
        const challenge = yield* Ref2.get(asked2);
        if (authorization2 === void 0 || challenge === void 0) return void 0;
        if (authorization2.expires > (yield* Clock2.currentTimeMillis)) return authorization2;
        tried.add(authorization2.how);
        const renewed = yield* obtain(challenge, authorization2.how, authorization2);
        yield* Ref2.set(held, renewed);
        return renewed;
      })
    ),
    next: (header, sent, tried) => one.withPermits(1)(
      Effect16.gen(function* () {
        const now = yield* Ref2.get(held);
        if (now !== void 0 && now !== sent && !tried.has(now.how)) return now;
        const challenge = header === void 0 ? yield* Ref2.get(asked2) : parse4(header);
        if (challenge === void 0 || challenge.scheme === "") {
          return yield* unauthorized(`${where} asks for an authentication that is not known (${printable(header ?? "it names none")})`);
        }
        yield* Ref2.set(asked2, challenge);
        const settled = yield* Ref2.get(isPublic);
        for (const how of ways(sent, tried, challenge.scheme)) {
          if (how === "login" && settled) break;
          tried.add(how);
          const authorization2 = yield* obtain(challenge, how, sent);
          if (authorization2 === void 0) {
            if (how === "login" && (yield* options2.login) === void 0) tried.delete(how);
            continue;
          }
          yield* Ref2.set(held, authorization2);
          return authorization2;
        }
        if (challenge.scheme === "basic" && (yield* options2.login) === void 0) return yield* unauthorized(`${where} asks for a user name and a password`);
        return yield* refused7(sent, tried);
      })
    ),
    decided: Effect16.gen(function* () {
      const authorization2 = yield* Ref2.get(held);
      const isPrivate = authorization2?.how === "login";
      yield* Ref2.set(isPublic, !isPrivate);
      return isPrivate;
    })
  };
});
var unauthorized = (what) => Effect16.fail(new ImageError(errorFields("REGISTRY_UNAUTHORIZED", what)));
var secretOf = (login) => "identityToken" in login ? [Redacted3.value(login.identityToken)] : [login.username, Redacted3.value(login.password)];
var basicHeader = ({ password, username }) => Redacted3.make(`Basic ${Buffer.from(`${username}:${Redacted3.value(password)}`).toString("base64")}`);
var basic = (login) => "identityToken" in login ? void 0 : { how: "login", header: basicHeader(login), expires: Infinity };
var tokenRequest = (url, service2, scope5, login) => {
  const parameters = { ...service2 === void 0 ? {} : { service: service2 }, ...scope5 === "" ? {} : { scope: scope5 } };
  if (login !== void 0 && "identityToken" in login) {
    const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "shifter-sdk", ...parameters, refresh_token: Redacted3.value(login.identityToken) });
    return { url, authorization: void 0, form: Redacted3.make(form.toString()) };
  }
  for (const [name, value9] of Object.entries(parameters)) url.searchParams.set(name, value9);
  return { url, authorization: login === void 0 ? void 0 : basicHeader(login), form: void 0 };
};
var tokenOf = (text5, how, askedAt) => Effect16.flatMap(Schema8.decode(TokenAnswer)(text5), (answer) => {
  const token = answer.token ?? answer.access_token ?? "";
  if (!/^[\x21-\x7e]+$/.test(token)) return Effect16.fail(new Error("no token"));
  const lifetime = Math.max(0, answer.expires_in ?? DEFAULT_SECONDS) * 1e3;
  const age = askedAt - Date.parse(answer.issued_at ?? "");
  const spent = age > 0 && age < lifetime ? age : 0;
  return Effect16.succeed({ how, header: Redacted3.make(`Bearer ${token}`), expires: askedAt + lifetime - spent - Math.min(MARGIN, lifetime / 5) });
});

// src/backends/docker/RegistryClient.ts
init_Patience();
init_Reach();
var MAX_REDIRECTS = 5;
var MAX_ANSWERS = 6;
var TOKEN_LIMIT = 1024 * 1024;
var SAID_LIMIT = 64 * 1024;
var FEW = 10;
var redirects = /* @__PURE__ */ new Set([301, 302, 303, 307, 308]);
var momentary = /* @__PURE__ */ new Set([408, 425, 429, 500, 502, 503, 504]);
var make11 = (client, options2) => Effect17.gen(function* () {
  const { host: host2, repository } = options2;
  const settings4 = options2.settingsOf(host2);
  const http = client.pipe(HttpClient.withScope, HttpClient.withTracerDisabledWhen(() => true));
  const base = new URL(`${settings4.plainHttp ? "http" : "https"}://${host2 === "docker.io" ? "registry-1.docker.io" : host2}`);
  const where = repository === "" ? host2 : `${host2}/${repository}`;
  const place3 = yield* Ref3.make("public");
  const told8 = yield* Ref3.make(void 0);
  const isWeaker = (url) => url.protocol !== "https:" && !(url.protocol === "http:" && (settings4.plainHttp && url.host === base.host || options2.settingsOf(url.host).plainHttp));
  const reachOf = (url) => Effect17.map(Ref3.get(place3), (kind3) => {
    if (url.origin === base.origin) return { kinds: options2.isStranger === true ? [] : "any", ca: settings4.ca };
    const { ca, named } = options2.settingsOf(url.host);
    return { kinds: named ? "any" : [kind3], ca };
  });
  const send3 = (url, request) => Effect17.gen(function* () {
    const isOwn = url.origin === base.origin;
    const asked2 = isOwn ? host2 : url.host;
    yield* options2.budgets.turn(
      asked2,
      (isOwn ? settings4 : options2.settingsOf(url.host)).budget,
      (millis4) => options2.onProgress({ _tag: "RateLimit", registry: asked2, remaining: 0, retryInSeconds: Math.ceil(millis4 / 1e3) })
    );
    const inner = yield* http.execute(HttpClientRequest.setHeaders(request, { "user-agent": "shifter-sdk", "accept-encoding": "identity" })).pipe(
      Effect17.provideService(Reach, yield* reachOf(url)),
      Effect17.mapError((error) => transportFailure(url, error))
    );
    if (isOwn && Option.isSome(inner.remoteAddress)) yield* Ref3.set(place3, kindOf(inner.remoteAddress.value));
    return { url, isOwn, inner };
  });
  const follow = (url, headers, authorization2, hops = 0) => Effect17.gen(function* () {
    const own4 = url.origin === base.origin && authorization2 !== void 0 ? { authorization: Redacted4.value(authorization2.header) } : {};
    const response = yield* send3(url, HttpClientRequest.get(url.href, { headers: { ...headers, ...own4 } }));
    if (!redirects.has(response.inner.status)) return response;
    const location = response.inner.headers["location"];
    if (hops >= MAX_REDIRECTS) return yield* refusedRedirect(`${where} redirects more than ${MAX_REDIRECTS} times`);
    if (location === void 0 || !URL.canParse(location, url.href)) return yield* refusedRedirect(`${where} redirects to nowhere`);
    const target2 = new URL(location, url);
    if (isWeaker(target2)) return yield* refusedRedirect(`${where} redirects to ${printable(`${target2.protocol}//${target2.host}`)}, which is not https`);
    target2.username = "";
    target2.password = "";
    yield* finished(response);
    return yield* follow(target2, headers, authorization2, hops + 1);
  });
  const ask2 = ({ authorization: authorization2, form, url }) => Effect17.gen(function* () {
    if (isWeaker(url)) return yield* unauthorized2(`${where} names the token service ${printable(url.origin)}, which is not https`);
    url.username = "";
    url.password = "";
    const headers = { accept: "application/json", ...authorization2 === void 0 ? {} : { authorization: Redacted4.value(authorization2) } };
    const request = form === void 0 ? HttpClientRequest.get(url.href, { headers }) : HttpClientRequest.post(url.href, { headers, body: HttpBody.uint8Array(Buffer.from(Redacted4.value(form)), "application/x-www-form-urlencoded") });
    const { inner } = yield* send3(url, request);
    const name = `The token service ${url.host} of ${where}`;
    if (inner.status === 400 || inner.status === 401 || inner.status === 403) return void 0;
    if (inner.status !== 200) return yield* faulty(inner, `${name} answered with HTTP ${inner.status}`);
    return Buffer.from(yield* collected(streamOf({ url, inner, isOwn: false }, name), TOKEN_LIMIT, name)).toString();
  });
  const authentication2 = yield* make9({
    where,
    scope: repository === "" ? "" : `repository:${repository}:pull`,
    login: options2.login,
    tokens: options2.tokens,
    loginOnly: options2.loginOnly ?? false,
    ask: ask2
  });
  const streamOf = ({ inner, url }, name) => inner.stream.pipe(Stream4.mapError((error) => transportFailure(url, error, `${name} broke off`)));
  const notice = (headers) => Effect17.gen(function* () {
    const left17 = /^\d{1,9}/.exec(headers["ratelimit-remaining"] ?? "")?.[0];
    if (left17 === void 0 || Number(left17) > FEW || (yield* Ref3.getAndSet(told8, Number(left17))) === Number(left17)) return;
    options2.onProgress({ _tag: "RateLimit", registry: host2, remaining: Number(left17), retryInSeconds: void 0 });
  });
  const get18 = (path3, asking = {}) => Effect17.gen(function* () {
    const url = new URL(`${base.origin}/v2/${repository === "" ? "" : `${repository}/`}${path3}`);
    const headers = { accept: asking.accept ?? "*/*", ...asking.headers };
    const tried = /* @__PURE__ */ new Set();
    let sent = yield* authentication2.current(tried);
    let response = yield* follow(url, headers, sent);
    for (let answers = 1; response.isOwn && answers < MAX_ANSWERS; answers++) {
      const { status } = response.inner;
      const challenge = response.inner.headers["www-authenticate"];
      if (status === 401) sent = yield* authentication2.next(challenge, sent, tried);
      else if (status === 403 && sent?.how === "anonymous") {
        tried.add("anonymous");
        const login = yield* authentication2.next(void 0, sent, tried).pipe(
          Effect17.catchTag("ImageError", (error) => error.code === "REGISTRY_UNAUTHORIZED" ? Effect17.succeed(void 0) : Effect17.fail(error))
        );
        if (login === void 0) break;
        sent = login;
      } else break;
      yield* finished(response);
      response = yield* follow(url, headers, sent);
    }
    const { inner } = response;
    if (response.isOwn) yield* notice(inner.headers);
    if (!(asking.statuses ?? [200]).includes(inner.status)) return yield* refusal5(response, path3);
    return { status: inner.status, headers: inner.headers, host: response.url.host, stream: streamOf(response, `The answer of ${where}`) };
  });
  const refusal5 = (response, path3) => Effect17.gen(function* () {
    const { inner, isOwn, url } = response;
    if (!isOwn) return yield* faulty(inner, `${url.host}, which ${where} redirects to, answered with HTTP ${inner.status}`);
    const said4 = saidBy(
      yield* collected(streamOf(response, where), SAID_LIMIT, where).pipe(
        Effect17.map((bytes2) => Buffer.from(bytes2).toString()),
        Effect17.timeout("5 seconds"),
        Effect17.orElseSucceed(() => "")
      )
    );
    const status = `HTTP ${inner.status}${said4 === "" ? "" : `, ${said4}`}`;
    const isBlob = path3.startsWith("blobs/");
    switch (inner.status) {
      case 401:
      case 403:
        return yield* unauthorized2(`${where} refused ${isBlob ? "a blob" : "the manifest"} (${status})`);
      case 404:
        if (path3 === "") return yield* new ImageError(errorFields("REGISTRY_ERROR", `${where} is no registry (${status})`));
        return yield* isBlob ? new ImageError(errorFields("REGISTRY_ERROR", `${where} does not have the blob ${path3.slice(6)} of its own manifest (${status})`)) : new ImageError(errorFields("MANIFEST_NOT_FOUND", `${where} has no image "${decodeURIComponent(path3.replace(/^manifests\//, ""))}" (${status})`));
      default:
        return yield* faulty(inner, inner.status === 429 ? `${where} is asked too often (${status})` : `${where} answered with ${status}`);
    }
  });
  return { host: host2, get: get18, decided: authentication2.decided };
});
var faulty = (inner, what) => Effect17.gen(function* () {
  const limited = inner.status === 429;
  const after = retryAfter(inner.headers["retry-after"], yield* Clock3.currentTimeMillis);
  const seconds8 = after === void 0 ? void 0 : Math.ceil(after / 1e3);
  const remedy = seconds8 === void 0 ? {} : { remedy: limited ? `Retry in ${seconds8} s, or give credentials.` : `Retry in ${seconds8} s.` };
  const [, allowed2, window] = /^(\d{1,9});w=(\d{1,9})/.exec(inner.headers["ratelimit-limit"] ?? "") ?? [];
  const limit2 = limited && allowed2 !== void 0 ? `; it allows ${allowed2} requests in ${window} s` : "";
  const error = new ImageError(errorFields(limited ? "REGISTRY_RATE_LIMITED" : "REGISTRY_ERROR", `${what}${limit2}`, { ...remedy, retryAfter: seconds8 }));
  return yield* momentary.has(inner.status) ? new Passing({ error, afterMillis: after }) : error;
});
var finished = ({ inner }) => Number(inner.headers["content-length"] ?? SAID_LIMIT + 1) > SAID_LIMIT ? Effect17.void : Effect17.ignore(Effect17.timeout(Stream4.runDrain(inner.stream), "2 seconds"));
var collected = (stream2, limit2, where) => stream2.pipe(
  Stream4.runFoldEffect({ size: 0, chunks: [] }, (state, chunk) => {
    state.size += chunk.length;
    state.chunks.push(chunk);
    return state.size > limit2 ? Effect17.fail(new ImageError(errorFields("LIMIT_EXCEEDED", `${where} sent more than ${limit2} bytes`))) : Effect17.succeed(state);
  }),
  Effect17.map((state) => Buffer.concat(state.chunks))
);
var body = (answer, limit2, where) => collected(answer.stream, limit2, where);
var refusedRedirect = (what) => Effect17.fail(new ImageError(errorFields("REDIRECT_REFUSED", what)));
var unauthorized2 = (what) => Effect17.fail(new ImageError(errorFields("REGISTRY_UNAUTHORIZED", what)));
var Said2 = Schema9.Struct({ errors: Schema9.Array(Schema9.Struct({ code: Schema9.optional(Schema9.String), message: Schema9.optional(Schema9.String) })) });
var saidBy = (text5) => {
  const decoded = Schema9.decodeUnknownOption(Schema9.parseJson(Said2))(text5);
  const first = decoded._tag === "Some" ? decoded.value.errors[0] : void 0;
  return printable([first?.code, first?.message].filter((each) => each !== void 0 && each !== "").join(": "));
};

// src/backends/docker/Registry.ts
var TRANSFERS = 6;
var store2 = (shared, ref, options2) => Effect18.gen(function* () {
  const { digest, host: host2, repository, tag } = yield* Either9.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)));
  const settings4 = yield* settingsOf(shared, host2);
  const clientOf = (at, given2, isStranger) => Effect18.zipRight(
    settingsOf(shared, at),
    make11(shared.http, {
      host: at,
      repository,
      settingsOf: shared.settingsOf,
      login: loginOf(shared, at, given2),
      tokens: shared.tokens,
      budgets: shared.budgets,
      isStranger,
      onProgress: options2.onProgress
    })
  );
  const endpoints = make6(
    yield* Effect18.forEach(settings4.mirrors, (mirror) => clientOf(mirror, void 0, false)),
    yield* clientOf(host2, options2.credentials, shared.forStrangers && !settings4.named)
  );
  const name = `${host2}/${repository}${digest === void 0 ? `:${tag}` : `@${digest}`}`;
  const domain = domainOf(host2, repository);
  const waiting = (failure, millis4) => {
    if (failure.error.code === "REGISTRY_RATE_LIMITED") options2.onProgress({ _tag: "RateLimit", registry: host2, remaining: void 0, retryInSeconds: Math.ceil(millis4 / 1e3) });
  };
  const document = (path3, accept, limit2, wanted, what) => patiently(
    endpoints.use(
      (client) => Effect18.scoped(
        Effect18.gen(function* () {
          const answer = yield* client.get(path3, { accept });
          const bytes2 = yield* body(answer, limit2, name);
          if (wanted !== void 0 && ofBytes(bytes2) !== wanted) {
            return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The ${what} of ${name} is not what its digest ${wanted} says`));
          }
          const contentType = answer.headers["content-type"];
          if (what === "manifest") yield* decodeDocument(bytes2, contentType, name);
          return { bytes: bytes2, contentType };
        })
      )
    ),
    { waiting }
  );
  const source = {
    endpoints,
    name,
    domain,
    waiting,
    transfers: yield* Effect18.makeSemaphore(TRANSFERS),
    onBytes: ({ digest: digest2, size }, received, cached5) => options2.onProgress({ _tag: "Layer", digest: digest2, received, bytes: size, cached: cached5 })
  };
  return {
    name,
    hasManifest: true,
    manifest: (wanted) => {
      const by = wanted ?? digest;
      return document(`manifests/${by ?? tag ?? "latest"}`, accepted, options2.limits.manifestBytes, by, "manifest");
    },
    small: (descriptor, limit2) => Effect18.map(document(`blobs/${descriptor.digest}`, "*/*", limit2, descriptor.digest, "configuration"), ({ bytes: bytes2 }) => bytes2),
    layer: (descriptor) => fetch(source, descriptor, options2.workspace),
    stored: (digest2) => nameOf2(domain, digest2),
    privateTo: Effect18.map(endpoints.decided, (isPrivate) => isPrivate ? privateTo(host2, repository) : void 0)
  };
});
var settingsOf = ({ settingsOf: settingsOf2 }, host2) => Effect18.try({
  try: () => settingsOf2(host2),
  catch: (error) => new ImageError(isShifterError(error) ? carried(error) : errorFields("CONFIG_INVALID", `The settings of ${host2} can't be used: ${messageOf(error)}`))
});
var loginOf = (shared, host2, given2) => Effect18.gen(function* () {
  if (given2 !== void 0) return given2;
  const { credentials } = yield* settingsOf(shared, host2);
  return credentials ?? (shared.dockerLogins === void 0 ? void 0 : yield* find(shared.dockerLogins, host2));
});

// src/backends/docker/index.ts
var registrySource = (settingsOf2, leftTo = () => void 0, dockerLogins, forStrangers = false) => Effect21.map(HttpClient4.HttpClient, (http) => {
  const shared = { http, settingsOf: settingsOf2, tokens: /* @__PURE__ */ new Map(), budgets: make(), dockerLogins, forStrangers };
  return {
    types: ["docker"],
    resolve: (ref, options2) => Effect21.gen(function* () {
      const { host: host2 } = yield* Either10.mapLeft(dockerName(ref), (error) => new ImageError(carried(error)));
      const daemon = leftTo(host2);
      if (daemon === void 0) return yield* Effect21.flatMap(store2(shared, ref, options2), (store3) => resolve2(store3, options2));
      return yield* resolve3(daemon, ref, options2, { login: loginOf(shared, host2, options2.credentials) });
    })
  };
});
var layoutSource = {
  types: ["oci"],
  resolve: (ref, options2) => Effect21.flatMap(store(ref, options2), (store3) => resolve2(store3, options2))
};
var daemonSource = (settings4) => ({
  types: ["docker-daemon"],
  resolve: (ref, options2) => resolve3(settings4, ref, options2)
});
var dockerArchiveSource = {
  types: ["docker-archive"],
  resolve: (ref, options2) => Effect21.flatMap(dockerStore(ref, options2), (store3) => resolve2(store3, options2))
};
var ociArchiveSource = {
  types: ["oci-archive"],
  resolve: (ref, options2) => Effect21.flatMap(ociStore(ref, options2), (store3) => resolve2(store3, options2))
};

// src/core/ClientConfig.ts
init_AbsolutePath();
init_Complaints();
init_Errors();
init_Site();
import { closeSync, fstatSync, openSync, readFileSync as readFileSync3 } from "node:fs";
import * as Either14 from "effect/Either";
import * as Redacted6 from "effect/Redacted";
import * as Schema22 from "effect/Schema";
var Url = Schema22.String.pipe(
  Schema22.filter((text5) => {
    const url = URL.canParse(text5) ? new URL(text5) : void 0;
    return url !== void 0 && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "" && url.search === "" && url.hash === "" || "http://HOST:PORT or https://HOST:PORT";
  })
);
var ClientConfig = Schema22.Struct({
  version: Schema22.Literal(1),
  gateways: Schema22.NonEmptyArray(Url),
  system: Schema22.optional(Schema22.NonEmptyString),
  token: Schema22.optional(AbsolutePath),
  ca: Schema22.optional(AbsolutePath),
  munge: Schema22.optional(AbsolutePath)
});
var place = ({ config, gateway, token }, environment2 = process.env) => {
  const named = gateway ?? (config === void 0 && environment2["SHIFTER_GATEWAY"] !== "" ? environment2["SHIFTER_GATEWAY"] : void 0);
  const secret = token === void 0 ? void 0 : Redacted6.make(token);
  if (named !== void 0) {
    const gateways = typeof named === "string" ? named.split(/[\s,]+/).filter((each) => each !== "") : named;
    const file = environment2["SHIFTER_TOKEN_FILE"];
    return decode8({ version: 1, gateways, ...secret !== void 0 || file === void 0 || file === "" ? {} : { token: file } }, "of the gateway named", secret);
  }
  const json = typeof config === "object" ? config : contents(config ?? defaultFile);
  if (isClients(json)) return decode8(json, typeof config === "object" ? "given" : config ?? defaultFile, secret);
  return Either14.map(typeof config === "object" ? decode7(json) : load(config), (site) => ({ _tag: "Here", site }));
};
var contents = (file) => {
  try {
    return JSON.parse(readFileSync3(file, "utf8"));
  } catch {
    return void 0;
  }
};
var isClients = (json) => typeof json === "object" && json !== null && "gateways" in json;
var decode8 = (config, source, token) => Either14.gen(function* () {
  const decoded = yield* Either14.mapLeft(
    Schema22.decodeUnknownEither(ClientConfig, { onExcessProperty: "error", errors: "all" })(config),
    (error) => refused2(`The client's configuration ${source} is not valid: ${complaints(error).join("; ")}`)
  );
  return {
    _tag: "Remote",
    remote: {
      gateways: decoded.gateways,
      system: decoded.system,
      token: token ?? (decoded.token === void 0 ? void 0 : yield* tokenOf2(decoded.token)),
      ca: decoded.ca === void 0 ? void 0 : yield* textOf2(decoded.ca, "certificates"),
      munge: decoded.munge
    }
  };
});
var tokenOf2 = (file) => {
  let descriptor;
  try {
    descriptor = openSync(file, "r");
    if ((fstatSync(descriptor).mode & 7) !== 0) return Either14.left(refused2(`The token in ${file} is everyone's to read`, `Revoke it, make another one, and chmod 600 ${file}.`));
    const token = readFileSync3(descriptor, "utf8").split("\n")[0]?.trim() ?? "";
    return token === "" ? Either14.left(refused2(`The file ${file} holds no token`)) : Either14.right(Redacted6.make(token));
  } catch (error) {
    return Either14.left(refused2(`The token ${file} can't be read: ${messageOf(error)}`));
  } finally {
    if (descriptor !== void 0) closeSync(descriptor);
  }
};
var textOf2 = (file, what) => Either14.try({ try: () => readFileSync3(file, "utf8"), catch: (error) => refused2(`The ${what} ${file} can't be read: ${messageOf(error)}`) });
var refused2 = (what, remedy) => new FormatError(errorFields("CONFIG_INVALID", printable(what), remedy === void 0 ? {} : { remedy }));

// src/index.ts
init_Errors();
init_Gateway();

// src/live.ts
import * as Cache2 from "effect/Cache";
import * as Context16 from "effect/Context";
import * as Effect91 from "effect/Effect";
import * as Layer14 from "effect/Layer";

// src/backends/chos/index.ts
init_ChosSettings();
init_Errors();
import { createHash as createHash12 } from "node:crypto";
import * as Effect39 from "effect/Effect";

// src/core/OneLayer.ts
import * as Effect36 from "effect/Effect";
import * as Ref5 from "effect/Ref";
var oneLayer = (digest, archive, { limits: limits2, workspace }) => Effect36.map(Ref5.make(false), (restarted2) => {
  const layers = [{ digest, diffId: void 0, blob: archive }];
  return {
    layers,
    write: (output2, onBytes) => Effect36.flatMap(Ref5.get(restarted2), (plan) => write(layers, output2, { program: workspace.program("shifter-merge"), limits: limits2, sample: workspace.sample, plan, onBytes })).pipe(
      Effect36.tapErrorTag("RestartNeeded", () => Ref5.set(restarted2, true))
    ),
    fetched: Effect36.void
  };
});

// src/backends/chos/index.ts
init_Platform();

// src/backends/chos/Conf.ts
init_Errors();
import * as Either18 from "effect/Either";
var none3 = { keeps: void 0, isLogin: false };
var parse6 = (text5, file) => {
  const keeps = [];
  let section = "";
  let isLogin = false;
  let hasKeeps = false;
  for (const [index, whole2] of text5.split("\n").entries()) {
    const line = whole2.trim();
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("%")) {
      section = line;
      hasKeeps ||= section === "%ENV";
    } else if (section === "%ENV") {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(line)) return Either18.left(new ImageError(errorFields("CONFIG_INVALID", `Line ${index + 1} of ${file} is no name of a variable`)));
      if (!keeps.includes(line)) keeps.push(line);
    } else if (section === "%BEH" && line === "BASHLOGIN") isLogin = true;
  }
  return Either18.right({ keeps: hasKeeps ? keeps : void 0, isLogin });
};

// src/backends/chos/Metadata.ts
var PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
var metadataOf2 = (name, { isLogin, keeps }, { facts }) => {
  const newest = Number(facts.get("newest"));
  const labels = [
    ["source", "chos"],
    ["chos.name", name],
    ["chos.newest", Number.isSafeInteger(newest) && Math.abs(newest) <= 864e10 ? new Date(newest * 1e3).toISOString() : void 0],
    ["chos.glibc", facts.get("glibc")],
    ["chos.kernel", facts.get("kernel")],
    ["chos.env", keeps?.join(" ")]
  ];
  return {
    env: [`PATH=${PATH}`, `CHOS=${name}`],
    entrypoint: [],
    command: isLogin ? ["/bin/bash", "-l"] : [],
    workdir: "/",
    labels: labels.flatMap(([label, value9]) => value9 === void 0 ? [] : [[label, value9]])
  };
};

// src/backends/chos/Shells.ts
init_Errors();
import * as Either19 from "effect/Either";
var control = /[\u0000-\u001f\u007f]/;
var parse7 = (text5, file) => {
  const found = [];
  let isListed = false;
  for (const [index, line] of text5.split("\n").entries()) {
    const invalid6 = (why) => Either19.left(new ImageError(errorFields("CONFIG_INVALID", `Line ${index + 1} of ${file} ${why}`)));
    if (line.startsWith("#") || line === "") continue;
    if (line.startsWith("%")) {
      isListed = line === "%SHELLS";
      continue;
    }
    if (!isListed) continue;
    const colon = line.indexOf(":");
    if (control.test(line)) return invalid6("holds a control character");
    if (colon < 1 || colon === line.length - 1) return invalid6("is no name:path");
    found.push({ name: line.slice(0, colon), path: line.slice(colon + 1) });
  }
  return Either19.right(found);
};
var find2 = (shells, name) => shells.find((each) => each.name === name) ?? (name.startsWith("/") ? shells.find((each) => each.path === name) : void 0);
var directoryOf = ({ name, path: path3 }, file) => {
  const refused7 = (why) => Either19.left(new ImageError(errorFields("TREE_UNSAFE", `The tree "${printable(name)}" of ${file} can't be an image: ${why}`)));
  if (!path3.startsWith("/")) return refused7(`its path "${printable(path3)}" is not absolute`);
  const parts = path3.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return refused7(`its path "${printable(path3)}" has a '..'`);
  return parts.length === 0 ? refused7("its path is /, the machine itself") : Either19.right(`/${parts.join("/")}`);
};

// src/backends/chos/SiteFile.ts
init_Errors();
init_Limits();
import { constants as constants6 } from "node:fs";
import { lstat, open as open15 } from "node:fs/promises";
import * as nodePath19 from "node:path";
import * as Effect37 from "effect/Effect";
var unsafe = (what) => new ImageError(errorFields("TREE_UNSAFE", what));
var checkOwner = (path3, { mode, uid }) => {
  if (uid !== 0) throw unsafe(`${path3} belongs to uid ${uid}, not to root`);
  if ((mode & 18) !== 0) throw unsafe(`${path3} can be changed by others (mode ${(mode & 4095).toString(8).padStart(4, "0")})`);
};
var read6 = async (file) => {
  for (let directory3 = nodePath19.dirname(file); ; directory3 = nodePath19.dirname(directory3)) {
    checkOwner(directory3, await lstat(directory3));
    if (directory3 === "/") break;
  }
  const handle = await open15(file, constants6.O_RDONLY | constants6.O_NOFOLLOW | constants6.O_NONBLOCK | constants6.O_NOCTTY);
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw unsafe(`${file} is no regular file`);
    checkOwner(file, status);
    if (status.size > formatLimits.configBytes) throw unsafe(`${file} has ${status.size} bytes, more than ${formatLimits.configBytes}`);
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await handle.readFile());
  } finally {
    await handle.close();
  }
};
var siteFile = (file) => Effect37.tryPromise({
  try: () => read6(file),
  catch: (error) => {
    if (error instanceof ImageError) return error;
    return systemCode(error) === "ELOOP" ? unsafe(`${file} is a symbolic link`) : { missing: systemCode(error) === "ENOENT", error };
  }
}).pipe(
  Effect37.catchAll((fault2) => {
    if (fault2 instanceof ImageError) return Effect37.fail(fault2);
    return fault2.missing ? Effect37.succeed(void 0) : Effect37.fail(new ImageError(errorFields("CONFIG_INVALID", `${file} can't be read: ${messageOf(fault2.error)}`, { cause: fault2.error, remedy: "Let it be read by the account that converts." })));
  })
);

// src/backends/chos/Tree.ts
init_Digest();
init_Errors();
init_Native();
init_Process();
import { open as open16 } from "node:fs/promises";
import * as nodePath20 from "node:path";
import { release } from "node:os";
import * as Effect38 from "effect/Effect";
import * as Stream9 from "effect/Stream";

// src/backends/chos/Report.ts
init_Errors();
var kinds2 = {
  unreadable: "could not be read by the account that converts, and are left out",
  private: "are not for everyone to read, and are left out",
  secret: "are keys or password files, and are left out",
  changed: "were changed while they were read",
  vanished: "went away while the tree was read",
  mount: "lie on other file systems, and are left out",
  "site-link": "are links into /local that are left out: the runtime gives files of its own",
  "site-directory": "are links into /local that became empty directories",
  rewritten: "are links through CHOS that now lead there directly",
  loop: "are links that would lead to themselves without CHOS, and are left out",
  dangling: "are absolute links to nothing",
  reserved: "have names that stand for removed files in layers, and are left out",
  special: "are devices, FIFOs or sockets, and are left out"
};
var isKind = (text5) => Object.hasOwn(kinds2, text5);
var SHOWN = 10;
var nothing = { notes: /* @__PURE__ */ new Map(), counts: /* @__PURE__ */ new Map(), facts: /* @__PURE__ */ new Map(), outcome: void 0 };
var add = (told8, line) => {
  const [word2 = "", first = "", ...rest] = line.split(" ");
  const text5 = rest.join(" ");
  if (word2 === "note" && isKind(first)) {
    const notes = told8.notes.get(first) ?? [];
    return notes.length >= SHOWN ? told8 : { ...told8, notes: new Map(told8.notes).set(first, [...notes, text5]) };
  }
  if (word2 === "count" && isKind(first)) return { ...told8, counts: new Map(told8.counts).set(first, Number(text5)) };
  if (word2 === "fact") return { ...told8, facts: new Map(told8.facts).set(first, text5) };
  if (word2 === "done") return { ...told8, outcome: { _tag: "Done", bytes: Number(first), sha256: rest[1] ?? "" } };
  if (word2 === "fault") return { ...told8, outcome: { _tag: "Fault", code: isErrorCode(first) ? first : "INTERNAL", what: text5 } };
  return told8;
};
var some2 = ({ counts, notes }, kind3) => {
  const names2 = notes.get(kind3) ?? [];
  const more = (counts.get(kind3) ?? names2.length) - names2.length;
  return `${names2.join(", ")}${more > 0 ? `, and ${more} more` : ""}`;
};
var warnings = (report) => Object.entries(kinds2).flatMap(([kind3, what]) => {
  const count3 = isKind(kind3) ? report.counts.get(kind3) : void 0;
  return count3 === void 0 || !isKind(kind3) ? [] : [`${count3} names of the tree ${what}: ${some2(report, kind3)}`];
});
var demands = ({ facts }, release2) => {
  const kernel = facts.get("kernel");
  const glibc = facts.get("glibc");
  return [
    ...kernel !== void 0 && isOlder(release2, kernel) ? [`The tree's C library needs Linux ${kernel}, and this machine runs ${release2}`] : [],
    ...facts.get("architecture") === "amd64" && glibc !== void 0 && isOlder(glibc, "2.14") ? [`The tree's C library (${glibc}) calls the kernel at a fixed address: nodes that are started with vsyscall=none can't run it`] : []
  ];
};
var isOlder = (one, other) => {
  const numbers = (text5) => text5.split(/[^0-9]+/).slice(0, 3).map(Number);
  const [a, b] = [numbers(one), numbers(other)];
  for (let i = 0; i < 3; i++) if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  return false;
};

// src/backends/chos/Tree.ts
var snapshot = (from, name, options2) => Effect38.scoped(
  Effect38.gen(function* () {
    const { onProgress, workspace } = options2;
    const file = nodePath20.join(workspace.scratch, "tree.tar");
    const output2 = yield* opened(file, "wx");
    const stdin = from._tag === "Archive" ? (yield* opened(from.file.path, "r")).fd : "ignore";
    const process2 = yield* scoped2(workspace.program("shifter-tree"), argumentsOf2(from, options2), { stdin, stdout: "pipe", further: [output2.fd] }).pipe(
      Effect38.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `The tree can't be read: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 })))
    );
    const told8 = yield* Stream9.runFold(lines(process2), nothing, add);
    if (told8.outcome === void 0) return yield* new ImageError(ended("shifter-tree", yield* Effect38.promise(() => process2.exit)));
    if (told8.outcome._tag === "Fault") return yield* refused4(from, name, file, told8.outcome, told8);
    for (const message of [...warnings(told8), ...demands(told8, release())]) onProgress({ _tag: "Warning", message: printable(message) });
    return { digest: Digest.make(`sha256:${told8.outcome.sha256}`), archive: { file, offset: 0, length: told8.outcome.bytes }, report: told8 };
  })
);
var argumentsOf2 = (from, { limits: limits2 }) => [
  ...from._tag === "Directory" ? ["--tree", from.path, ...from.skipUnreadable ? ["--skip-unreadable"] : []] : ["--ratio", String(limits2.ratio)],
  ...Object.entries({
    bytes: limits2.inflatedBytes,
    entries: limits2.entries,
    "directory-entries": limits2.directoryEntries,
    depth: limits2.depth,
    "name-bytes": limits2.nameBytes
  }).flatMap(([option, value9]) => [`--${option}`, String(value9)])
];
var refused4 = (from, name, file, { code, what }, report) => {
  if (code === "STORAGE_FULL" || code === "STATE_UNUSABLE") return new ImageError(errorFields(code, `The tree of ${name}, written to ${file}: ${what}`));
  const unread = code === "TREE_UNREADABLE" && report.notes.has("unreadable") ? `: ${some2(report, "unreadable")}` : "";
  const named = from._tag === "Archive" && code === "LAYER_INVALID" ? "FILE_INVALID" : code;
  return new ImageError(errorFields(named, printable(`The ${from._tag === "Archive" ? "archive" : "tree"} of ${name}: ${what}${unread}`)));
};
var opened = (file, mode) => Effect38.acquireRelease(
  Effect38.tryPromise({
    try: () => open16(file, mode, 384),
    catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }))
  }),
  (handle) => Effect38.promise(() => handle.close())
);

// src/backends/chos/index.ts
var chosSource = (settings4 = defaultChos) => ({
  types: ["chos"],
  // Which names are the site's is seen when the file is here.
  refusesImport: () => void 0,
  resolve: (ref, options2) => resolve5(ref, settings4, options2)
});
var resolve5 = (ref, settings4, options2) => Effect39.gen(function* () {
  const name = ref.reference;
  const from = yield* whereIs(name, settings4, options2);
  const text5 = yield* siteFile(settings4.conf);
  const conf = text5 === void 0 ? none3 : yield* parse6(text5, settings4.conf);
  const tree = yield* snapshot(from, `chos:${printable(name)}`, options2);
  const platform = yield* platformOf2(tree, name, options2);
  const metadata = metadataOf2(name, conf, tree.report);
  const stream2 = yield* oneLayer(tree.digest, Effect39.succeed(tree.archive), options2);
  options2.onProgress({ _tag: "Layer", digest: tree.digest, received: tree.archive.length, bytes: tree.archive.length, cached: true });
  return {
    sourceDigest: tree.digest,
    // Two names of one tree say different things of themselves, and so does one name when the site's chos.conf changes.
    variant: variantOf2(metadata, platform),
    manifestDigest: void 0,
    platform,
    metadata,
    isPrivate: false,
    blobs: [{ digest: tree.digest, bytes: tree.archive.length, stored: void 0 }],
    open: Effect39.succeed(stream2)
  };
});
var whereIs = (name, settings4, { file }) => Effect39.gen(function* () {
  const text5 = yield* siteFile(settings4.shells);
  const shell = text5 === void 0 ? void 0 : find2(yield* parse7(text5, settings4.shells), name);
  if (file !== void 0) {
    if (shell === void 0) return { _tag: "Archive", file };
    return yield* new ImageError(errorFields("REFERENCE_INVALID", `chos:${printable(name)} is the name of a tree of this site`, { remedy: "Import the archive under another name." }));
  }
  if (shell === void 0) {
    return yield* new ImageError(errorFields("TREE_NOT_FOUND", `There is no tree "${printable(name)}" in ${text5 === void 0 ? `${settings4.shells}, which is not there` : `%SHELLS of ${settings4.shells}`}`));
  }
  return { _tag: "Directory", path: yield* directoryOf(shell, settings4.shells), skipUnreadable: settings4.unreadable === "skip" };
});
var runsOn = (wanted, architecture) => wanted.architecture === architecture || wanted.architecture === "amd64" && architecture === "386";
var platformOf2 = ({ report }, name, { onProgress, platform }) => {
  const architecture = report.facts.get("architecture") ?? "unknown";
  if (!runsOn(platform, architecture)) {
    return Effect39.fail(
      new ImageError(errorFields("PLATFORM_NOT_FOUND", `The tree of chos:${printable(name)} is for linux/${architecture}, not for ${format(platform)}`, { remedy: `Ask for --platform linux/${architecture} where nodes are such machines.` }))
    );
  }
  if (architecture !== platform.architecture) onProgress({ _tag: "Warning", message: `The tree holds programs of 32 bits (linux/${architecture}): nodes need a kernel that runs them` });
  return Effect39.succeed({ os: "linux", architecture, variant: architecture === platform.architecture ? platform.variant : void 0 });
};
var variantOf2 = ({ command, entrypoint, env, labels, workdir }, platform) => `chos 1 ${createHash12("sha256").update(JSON.stringify([env, entrypoint, command, workdir ?? null, labels, format(platform)])).digest("hex")}`;

// src/backends/custom/index.ts
init_Errors();
init_Filter();
init_Native();
import { open as open17 } from "node:fs/promises";
import * as nodePath21 from "node:path";
import * as Effect40 from "effect/Effect";
init_Process();

// src/backends/custom/FirstNames.ts
var BLOCK2 = 512;
var MEMBERS2 = 4096;
var firstNames = async (pieces2) => {
  const names2 = [];
  const block = Buffer.alloc(BLOCK2);
  let filled = 0;
  let skip = 0;
  for await (const piece of pieces2) {
    for (let at = 0; at < piece.length; ) {
      if (skip > 0) {
        const step2 = Math.min(skip, piece.length - at);
        skip -= step2;
        at += step2;
        continue;
      }
      const step = Math.min(BLOCK2 - filled, piece.length - at);
      piece.copy(block, filled, at, at + step);
      filled += step;
      at += step;
      if (filled < BLOCK2) continue;
      filled = 0;
      const size = headerSize(block);
      if (size === void 0) return isEnd(block) || names2.length > 0 ? names2 : void 0;
      const type = block[156];
      if (type !== X && type !== G && type !== L && type !== K) names2.push(nameOf3(block));
      if (names2.length === MEMBERS2) return names2;
      skip = Math.ceil(size / BLOCK2) * BLOCK2;
    }
  }
  return names2;
};
var [X, G, L, K] = ["x", "g", "L", "K"].map((letter) => letter.charCodeAt(0));
var isEnd = (block) => block.every((byte) => byte === 0);
var headerSize = (block) => {
  let sum = 0;
  for (let i = 0; i < BLOCK2; i++) sum += i >= 148 && i < 156 ? 32 : block[i] ?? 0;
  if (octal2(block, 148, 8) !== sum) return void 0;
  return ((block[124] ?? 0) & 128) !== 0 ? block.readUIntBE(130, 6) : octal2(block, 124, 12);
};
var octal2 = (block, start2, length) => {
  const digits = block.toString("latin1", start2, start2 + length).split("\0")[0]?.trim() ?? "";
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : void 0;
};
var nameOf3 = (block) => {
  const nul = block.indexOf(0);
  return block.toString("utf8", 0, nul < 0 || nul > 100 ? 100 : nul).replace(/^(?:\.?\/)+/, "");
};
var archiveType = (names2) => {
  const has = (name) => names2.includes(name);
  const hasBlobs = names2.some((name) => name.startsWith("blobs/sha256/") || /^[0-9a-f]{64}(?:\.json|\.tar|\/layer\.tar)$/.test(name));
  if (!hasBlobs) return void 0;
  return has("manifest.json") ? "docker-archive" : has("oci-layout") && has("index.json") ? "oci-archive" : void 0;
};

// src/backends/custom/index.ts
var customSource = {
  types: ["custom"],
  refusesImport: () => void 0,
  resolve: (ref, options2) => options2.file === void 0 ? Effect40.fail(new ImageError(errorFields("IMPORT_NEEDED", `There is nowhere to pull custom:${ref.reference} from`))) : resolve6(ref, options2.file, options2)
};
var resolve6 = (ref, file, options2) => Effect40.gen(function* () {
  const { limits: limits2, platform } = options2;
  const name = `${ref.type}:${ref.reference}`;
  if (file.bytes > limits2.blobBytes) {
    return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `The file of ${name} has ${file.bytes} bytes, more than ${limits2.blobBytes}`));
  }
  const handle = yield* opened2(file.path, "r");
  const magic = Buffer.alloc(MAGIC.length);
  yield* Effect40.tryPromise({ try: () => handle.read(magic, 0, magic.length, 0), catch: (error) => unusable(file.path, error) });
  const isSquashfs = magic.equals(MAGIC);
  if (!isSquashfs) yield* checkArchive(handle.fd, name, options2);
  options2.onProgress({ _tag: "Layer", digest: file.digest, received: file.bytes, bytes: file.bytes, cached: true });
  const given2 = { file: file.path, offset: 0, length: file.bytes };
  const archive = isSquashfs ? yield* Effect40.cached(unsquashed(handle.fd, name, options2)) : Effect40.succeed(given2);
  const stream2 = yield* oneLayer(file.digest, archive, options2);
  return {
    sourceDigest: file.digest,
    manifestDigest: void 0,
    platform,
    metadata: { env: [], entrypoint: [], command: [], labels: [] },
    isPrivate: false,
    blobs: [{ digest: file.digest, bytes: file.bytes, stored: void 0 }],
    open: Effect40.succeed(stream2)
  };
});
var MAGIC = Buffer.from("hsqs");
var unsquashed = (input, name, { limits: limits2, workspace }) => Effect40.scoped(
  Effect40.gen(function* () {
    const file = nodePath21.join(workspace.scratch, "unsquashed.tar");
    const out = yield* opened2(file, "w");
    yield* run({
      name: "shifter-unsquash",
      program: workspace.program("shifter-unsquash"),
      args: Object.entries({
        bytes: limits2.inflatedBytes,
        ratio: limits2.ratio,
        entries: limits2.entries,
        depth: limits2.depth,
        "name-bytes": limits2.nameBytes
      }).flatMap(([option, value9]) => [`--${option}`, String(value9)]),
      stdin: input,
      stdout: out.fd,
      purpose: "The squashfs can't be read",
      worded: (code, what) => worded(`The squashfs of ${name}${code === "STORAGE_FULL" ? `, written to ${file}` : ""}`)(code, what)
    });
    const { size } = yield* Effect40.tryPromise({ try: () => out.stat(), catch: (error) => unusable(file, error) });
    return { file, offset: 0, length: size };
  })
);
var checkArchive = (input, name, { limits: limits2, workspace }) => Effect40.scoped(
  Effect40.gen(function* () {
    const process2 = yield* scoped2(workspace.program("shifter-inflate"), [String(limits2.inflatedBytes), String(limits2.ratio)], { stdin: input, stdout: "pipe" }).pipe(
      Effect40.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `The file can't be read: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 })))
    );
    const names2 = yield* Effect40.promise(() => process2.stdout === null ? Promise.resolve(void 0) : firstNames(buffers(process2.stdout)));
    if (names2?.length === 0) {
      const exit2 = yield* Effect40.promise(() => process2.exit);
      if (exit2.status !== 0) return yield* new ImageError(refusal("shifter-inflate", exit2, worded(`The file of ${name}`)));
    }
    if (names2 === void 0 || names2.length === 0) {
      return yield* new ImageError(errorFields("FILE_INVALID", `The file of ${name} is neither a squashfs nor a tar archive`));
    }
    const type = archiveType(names2);
    if (type === void 0) return;
    return yield* new ImageError(
      errorFields("FILE_INVALID", `The file of ${name} is an archive of images, not of a root file system`, { remedy: `Pull it: shifterimg pull ${type}:FILE.` })
    );
  })
);
async function* buffers(stdout) {
  for await (const piece of stdout) if (piece instanceof Buffer) yield piece;
}
var worded = (what) => (code, said4) => errorFields(code === "LAYER_INVALID" ? "FILE_INVALID" : code, `${what}: ${said4}`);
var opened2 = (file, mode) => Effect40.acquireRelease(
  Effect40.tryPromise({ try: () => open17(file, mode, 384), catch: (error) => unusable(file, error) }),
  (handle) => Effect40.promise(() => handle.close())
);
var unusable = (file, error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }));

// src/backends/vm/index.ts
init_Errors();
import * as Effect54 from "effect/Effect";
init_VmSettings();

// src/backends/vm/Confined.ts
init_Errors();
init_Native();
init_Process();
import { chmod, chown, lstat as lstat2, mkdir as mkdir3 } from "node:fs/promises";
import * as nodePath22 from "node:path";
import * as Effect41 from "effect/Effect";
var room = (workspace, settings4) => Effect41.gen(function* () {
  const directory3 = nodePath22.join(workspace.scratch, "disk");
  const account = process.getuid?.() === 0 ? yield* accountOf(settings4.account) : void 0;
  yield* Effect41.tryPromise({
    try: async () => {
      await mkdir3(directory3, { recursive: true, mode: 448 });
      if (account !== void 0) await chown(directory3, account.uid, account.gid);
    },
    catch: (error) => unusable2(directory3, error)
  });
  return {
    directory: directory3,
    at: (name) => nodePath22.join(directory3, name),
    start: ([program3, ...args], { fileBytes, memoryMiB, proc, seconds: seconds8 }) => scoped2(
      workspace.program("shifter-confined"),
      [
        ...["--directory", directory3, "--file-bytes", String(fileBytes), "--seconds", String(seconds8), "--memory", String(memoryMiB)],
        ...account === void 0 ? [] : ["--user", `${account.uid}:${account.gid}`],
        ...proc === true ? ["--proc", "yes"] : [],
        ...["--", program3, ...args]
      ],
      { stdin: "ignore", stdout: "pipe" }
    ).pipe(Effect41.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `The disk can't be read: ${fault2.message}`, { remedy: buildRemedy, cause: fault2 }))))
  };
});
var readable = (file) => Effect41.tryPromise({ try: () => chmod(file, 292), catch: (error) => unusable2(file, error) });
var regular2 = (file) => Effect41.flatMap(
  Effect41.tryPromise({ try: () => lstat2(file), catch: (error) => unusable2(file, error) }),
  (status) => status.isFile() && status.nlink === 1 ? Effect41.succeed(status) : Effect41.fail(new ImageError(errorFields("READER_FAILED", `${file} is no regular file`)))
);
var unusable2 = (file, error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${file} can't be used: ${messageOf(error)}`, { cause: error }));
var accountOf = (name) => Effect41.gen(function* () {
  const { stdout } = yield* output("getent", ["passwd", "--", name]).pipe(
    Effect41.mapError((fault2) => new ImageError(errorFields("TOOL_MISSING", `The account ${name} can't be looked up: ${fault2.message}`, { cause: fault2, remedy: "Install getent." })))
  );
  const [, , uid = "", gid = ""] = stdout.split(":");
  if (!/^[1-9][0-9]*$/.test(uid) || !/^[1-9][0-9]*$/.test(gid)) {
    return yield* new ImageError(errorFields("CONFIG_INVALID", `There is no account ${name} without rights to read disks with`, { remedy: 'Name one in "vm.account".' }));
  }
  return { uid: Number(uid), gid: Number(gid) };
});

// src/backends/vm/Container.ts
init_Errors();
import * as Effect42 from "effect/Effect";
var refusal3 = (place3, code, what, remedy) => new ImageError(errorFields(code, `${place3.name} ${what}`, remedy === void 0 ? {} : { remedy }));
var makeWhole = "Make one file of it that needs no other: qemu-img convert -O qcow2 DISK NEW.";
var bytesAt = (place3, offset, length) => Effect42.tryPromise({
  try: async () => {
    const bytes2 = Buffer.alloc(length);
    const within = Math.max(0, Math.min(length, place3.length - offset));
    for (let done2 = 0; done2 < within; ) {
      const { bytesRead } = await place3.handle.read(bytes2, done2, within - done2, place3.offset + offset + done2);
      if (bytesRead === 0) break;
      done2 += bytesRead;
    }
    return bytes2;
  },
  catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${place3.name} can't be read: ${messageOf(error)}`, { cause: error }))
});
var wholeAt = (place3, offset, length) => Number.isSafeInteger(offset) && offset >= 0 && offset + length <= place3.length ? bytesAt(place3, offset, length) : Effect42.fail(refusal3(place3, "DISK_INVALID", "is cut off: a part of its header lies behind its end"));

// src/backends/vm/Convert.ts
init_Errors();
import { open as open18 } from "node:fs/promises";
import * as Duration3 from "effect/Duration";
import * as Effect43 from "effect/Effect";
import * as Schema30 from "effect/Schema";
var drivers = { raw: "raw", qcow2: "qcow2", vmdk: "vmdk", vdi: "vdi", vhd: "vpc", vhdx: "vhdx" };
var MEMORY = 2048;
var OUTPUT = 4 * 1024 * 1024;
var Info2 = Schema30.parseJson(
  Schema30.Struct({
    "virtual-size": Schema30.NonNegativeInt,
    "backing-filename": Schema30.optional(Schema30.String),
    "full-backing-filename": Schema30.optional(Schema30.String),
    encrypted: Schema30.optional(Schema30.Boolean),
    "format-specific": Schema30.optional(
      Schema30.Struct({ data: Schema30.optional(Schema30.Struct({ "data-file": Schema30.optional(Schema30.Unknown), extents: Schema30.optional(Schema30.Array(Schema30.Struct({ filename: Schema30.String }))) })) })
    )
  })
);
var decodeInfo = Schema30.decodeUnknown(Info2);
var toRaw = (room2, file, place3, container, settings4) => {
  const isWhole2 = place3.offset === 0 && container.virtualBytes === place3.length;
  return container.format === "raw" && isWhole2 ? Effect43.succeed(file) : Effect43.as(convert3(room2, file, place3, container, settings4), RAW);
};
var RAW = "raw";
var convert3 = (room2, file, place3, container, settings4) => Effect43.gen(function* () {
  const image2 = imageOf(file, place3, container);
  const size = yield* inspect(room2, image2, place3, settings4);
  yield* Effect43.scoped(
    Effect43.acquireRelease(
      Effect43.tryPromise({ try: () => open18(room2.at(RAW), "wx", 438), catch: (error) => unusable2(room2.at(RAW), error) }),
      (handle) => Effect43.promise(() => handle.close())
    ).pipe(
      Effect43.flatMap(
        (handle) => Effect43.tryPromise({
          try: async () => {
            await handle.truncate(size);
            await handle.chmod(438);
          },
          catch: (error) => unusable2(room2.at(RAW), error)
        })
      )
    )
  );
  const target2 = `driver=raw,file.driver=file,file.filename=/work/${RAW},file.locking=off`;
  yield* qemu(room2, ["convert", "-n", "--target-is-zero", "--target-image-opts", image2, target2], place3, settings4, size);
});
var imageOf = (file, { length, offset }, { format: format2 }) => {
  const whole2 = { driver: "file", filename: `/work/${file}`, locking: "off" };
  const part = { driver: "raw", offset, size: length, file: whole2 };
  return `json:${JSON.stringify({ driver: drivers[format2], ...format2 === "qcow2" || format2 === "vmdk" ? { backing: null } : {}, file: offset === 0 ? whole2 : part })}`;
};
var inspect = (room2, image2, place3, settings4) => Effect43.gen(function* () {
  const text5 = yield* qemu(room2, ["info", "--output=json", image2], place3, settings4, 1024 * 1024);
  const info = yield* decodeInfo(text5).pipe(Effect43.mapError((error) => new ImageError(errorFields("TOOL_FAILED", `What qemu-img says of ${place3.name} can't be understood: ${printable(error.message)}`))));
  const data = info["format-specific"]?.data;
  if (info["backing-filename"] !== void 0 || info["full-backing-filename"] !== void 0 || data?.["data-file"] !== void 0 || (data?.extents?.length ?? 1) !== 1) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "needs other files, which are not opened", makeWhole);
  }
  if (info.encrypted === true) return yield* refusal3(place3, "DISK_UNSUPPORTED", "is encrypted");
  const size = info["virtual-size"];
  if (size > settings4.virtualBytes) return yield* refusal3(place3, "LIMIT_EXCEEDED", `has ${size} bytes, more than ${settings4.virtualBytes}`, 'Ask the administrator to raise "vm.virtualBytes", or give a smaller disk.');
  return size;
});
var qemu = (room2, args, place3, { seconds: seconds8 }, fileBytes) => Effect43.scoped(
  Effect43.gen(function* () {
    const process2 = yield* room2.start(["qemu-img", ...args], { fileBytes: Math.max(fileBytes, 1), seconds: seconds8, memoryMiB: MEMORY });
    const printed = yield* Effect43.promise(() => textOf3(process2));
    const exit2 = yield* Effect43.promise(() => process2.exit);
    return exit2.status === 0 ? printed : yield* failed2(exit2, place3);
  })
).pipe(
  Effect43.timeoutFail({
    duration: Duration3.seconds(seconds8),
    onTimeout: () => refusal3(place3, "LIMIT_EXCEEDED", `could not be converted within ${seconds8} seconds`, 'Ask the administrator to raise "vm.seconds".')
  })
);
var textOf3 = async ({ kill, stdout }) => {
  const pieces2 = [];
  let length = 0;
  for await (const piece of stdout ?? []) {
    length += piece.length;
    if (length > OUTPUT) kill();
    else pieces2.push(piece);
  }
  return Buffer.concat(pieces2).toString("utf8");
};
var OVER_TIME = 128 + 24;
var failed2 = ({ status, stderr }, place3) => {
  const [code = "", ...what] = stderr.split("\n").at(-1)?.split(" ") ?? [];
  if (isErrorCode(code)) return new ImageError(errorFields(code, `${place3.name} can't be converted: ${what.join(" ")}`, code === "TOOL_MISSING" ? { remedy: "Install qemu-utils on the gateway's machine." } : {}));
  if (status === OVER_TIME) return refusal3(place3, "LIMIT_EXCEEDED", "takes more processor time to convert than it may");
  if (/No space left|Disk quota/.test(stderr)) return refusal3(place3, "STORAGE_FULL", "can't be converted: the scratch directory is full");
  return refusal3(place3, "DISK_INVALID", `can't be converted: ${printable(stderr.split("\n").at(-1)?.replace(/json:\{.*\}/, "the disk") ?? `qemu-img ended with status ${status}`)}`);
};

// src/backends/vm/Describe.ts
init_Errors();
init_Platform();
import * as Either20 from "effect/Either";
var PATH2 = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
var runsOn2 = (wanted, found) => wanted === found || wanted === "amd64" && found === "386";
var describe = (disk, { format: format2, virtualBytes }, wanted, name) => {
  const architecture = disk.facts.get("architecture") ?? "unknown";
  if (!runsOn2(wanted.architecture, architecture)) {
    return Either20.left(new ImageError(errorFields("PLATFORM_NOT_FOUND", `${name} is for linux/${printable(architecture)}, not for ${format(wanted)}`)));
  }
  const labels = [
    ["source", "vm"],
    ["vm.format", format2],
    ["vm.virtual-bytes", String(virtualBytes)],
    ["vm.partition", disk.root.name],
    ["vm.file-system", disk.root.type],
    ["vm.merged", list3(disk.merged.map((each) => `${each.path}=${each.name}(${each.type})`))],
    ["vm.replayed", list3(disk.replayed)],
    ["vm.distribution", list3([disk.facts.get("os"), disk.facts.get("version")].flatMap((each) => each ?? []))],
    ["vm.title", disk.facts.get("title")],
    ["vm.stripped", list3(disk.stripped.filter(({ count: count3 }) => count3 > 0).map(({ count: count3, pattern: pattern15 }) => `${pattern15}:${count3}`))]
  ];
  return Either20.right({
    platform: { os: "linux", architecture, variant: architecture === wanted.architecture ? wanted.variant : void 0 },
    metadata: {
      env: [`PATH=${disk.facts.get("path") ?? PATH2}`],
      entrypoint: [],
      command: [],
      workdir: "/",
      labels: labels.flatMap(([key, value9]) => value9 === void 0 ? [] : [[key, value9]])
    }
  });
};
var list3 = (words) => words.length === 0 ? void 0 : words.join(" ");

// src/backends/vm/DiskReader.ts
init_Errors();
init_Native();
init_Process();
import { rm as rm10 } from "node:fs/promises";
import * as Duration4 from "effect/Duration";
import * as Effect44 from "effect/Effect";
import * as Stream10 from "effect/Stream";
var ARCHIVE = "tree.tar";
var BESIDES = 4096;
var MOST = 1e3;
var read7 = (room2, file, name, settings4, { limits: limits2, partition, workspace }) => Effect44.scoped(
  Effect44.gen(function* () {
    const numbers = { memory: settings4.memoryMiB, seconds: settings4.seconds, entries: limits2.entries, bytes: limits2.inflatedBytes };
    const process2 = yield* room2.start(
      [
        workspace.program("shifter-disk"),
        ...["--disk", `/work/${file}`, "--output", `/work/${ARCHIVE}`, "--scratch", "/work", "--kernel", settings4.kernel],
        ...Object.entries(numbers).flatMap(([option, value9]) => [`--${option}`, String(value9)]),
        ...partition === void 0 ? [] : ["--partition", partition]
      ],
      { fileBytes: Math.max(limits2.inflatedBytes, settings4.virtualBytes), seconds: settings4.seconds, memoryMiB: settings4.memoryMiB + BESIDES, proc: true }
    );
    const told8 = yield* lines(process2).pipe(Stream10.runFold(nothing2(), hear));
    const exit2 = yield* Effect44.promise(() => process2.exit);
    if (told8.fault !== void 0) return yield* refused5(told8.fault, told8.candidates, name);
    if (exit2.status !== 0 || !told8.done || told8.root === void 0) return yield* new ImageError(endedOf(exit2, name));
    const archive = room2.at(ARCHIVE);
    const { size } = yield* regular2(archive);
    yield* Effect44.promise(() => rm10(room2.at(file), { force: true }));
    const { facts, merged: merged2, replayed, root, stripped } = told8;
    return { archive: { file: archive, offset: 0, length: size }, root, facts, merged: merged2, replayed, stripped };
  })
).pipe(
  Effect44.timeoutFail({
    // It has the same limit itself, and says so.
    duration: Duration4.seconds(settings4.seconds + 30),
    onTimeout: () => new ImageError(errorFields("LIMIT_EXCEEDED", `${name} could not be read within ${settings4.seconds} seconds`, { remedy: 'Ask the administrator to raise "vm.seconds".' }))
  })
);
var nothing2 = () => ({ root: void 0, facts: /* @__PURE__ */ new Map(), merged: [], replayed: [], stripped: [], candidates: [], fault: void 0, done: false });
var word = (text5 = "") => text5.replace(/\\x([0-9a-f]{2})/g, (_, hex2) => String.fromCharCode(parseInt(hex2, 16)));
var keep = (list4, value9) => {
  if (list4.length < MOST) list4.push(value9);
};
var hear = (told8, line) => {
  const [kind3 = "", ...words] = line.split(" ");
  const [first = "", second = "", third = ""] = words;
  switch (kind3) {
    case "found":
      keep(told8.candidates, { name: word(first), type: second, title: words.slice(4).join(" ") });
      break;
    case "root":
      told8.root = { name: word(first), type: second };
      break;
    case "merged":
      keep(told8.merged, { path: word(first), name: word(second), type: third });
      break;
    case "replayed":
      keep(told8.replayed, word(first));
      break;
    case "stripped":
      keep(told8.stripped, { pattern: word(first), count: Number(second) });
      break;
    case "fact":
      if (told8.facts.size < MOST) told8.facts.set(first, words.slice(1).join(" "));
      break;
    case "done":
      told8.done = true;
      break;
    case "fault":
      told8.fault = { code: isErrorCode(first) ? first : "READER_FAILED", what: printable(words.slice(1).join(" ")) };
      break;
  }
  return told8;
};
var refused5 = ({ code, what }, candidates, name) => {
  if (code === "DISK_AMBIGUOUS") {
    const list4 = candidates.map((each) => `${printable(each.name)} (${printable(each.type)}, ${printable(each.title)})`).join("; ");
    return new ImageError(errorFields(code, `${name} holds more than one system: ${list4}`, { remedy: `Choose one: --partition ${printable(candidates[0]?.name ?? "NAME")}.` }));
  }
  const remedy = code === "TOOL_MISSING" ? { remedy: "Install the package user-mode-linux on the gateway's machine." } : {};
  return new ImageError(errorFields(code, `${name}: ${what}`, remedy));
};
var endedOf = (exit2, name) => {
  const [code = "", ...what] = exit2.stderr.split("\n").at(-1)?.split(" ") ?? [];
  return isErrorCode(code) ? errorFields(code, `${name} can't be read: ${printable(what.join(" "))}`) : ended("shifter-disk", exit2);
};

// src/backends/vm/Given.ts
init_Errors();
init_GivenPath();
import { open as open19, readdir as readdir4, rename as rename7, stat as stat5 } from "node:fs/promises";
import * as nodePath23 from "node:path";
import * as Effect46 from "effect/Effect";

// src/backends/vm/Ova.ts
init_Errors();
import { createHash as createHash13 } from "node:crypto";
import * as Effect45 from "effect/Effect";

// src/backends/vm/Ovf.ts
init_Errors();
import * as Either21 from "effect/Either";
var documentBytes = 4 * 1024 * 1024;
var TAG2 = /<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*\/?>/g;
var ATTRIBUTE = /(?:[\w.-]+:)?([\w.-]+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/g;
var refused6 = (name, what, remedy) => Either21.left(new ImageError(errorFields(remedy === void 0 ? "DISK_INVALID" : "DISK_UNSUPPORTED", `The OVF descriptor of ${name} ${what}`, remedy === void 0 ? {} : { remedy })));
var elements = (text5, wanted) => [...text5.matchAll(TAG2)].flatMap(
  ([, , element, attributes2 = ""]) => element !== wanted ? [] : [new Map([...attributes2.matchAll(ATTRIBUTE)].map(([, key = "", double, single]) => [key, unescaped(double ?? single ?? "")]))]
);
var predefined = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
var unescaped = (text5) => text5.replace(/&([a-z]+);/g, (whole2, name) => predefined[name] ?? whole2);
var diskOf = (descriptor, name) => {
  const text5 = descriptor.replace(/<!--[\s\S]*?-->/g, "");
  if (/<!DOCTYPE|<!ENTITY|<!\[CDATA\[/i.test(text5)) return refused6(name, "declares what is not read: a DOCTYPE, an entity or CDATA");
  if (elements(text5, "Envelope").length !== 1) return refused6(name, "is no OVF envelope");
  if (elements(text5, "VirtualSystem").length > 1) return refused6(name, "describes several machines", "Give the disk of one of them.");
  const files4 = new Map(elements(text5, "File").map((file2) => [file2.get("id") ?? "", file2]));
  const disks2 = elements(text5, "Disk").flatMap((disk) => disk.get("fileRef") ?? []);
  const [reference, ...further] = disks2;
  if (reference === void 0) return refused6(name, "names no disk with content");
  if (further.length > 0) return refused6(name, `names ${disks2.length} disks`, "Take the archive apart with tar, and give the disk that the machine starts from.");
  const file = files4.get(reference);
  const href = file?.get("href");
  if (file === void 0 || href === void 0) return refused6(name, `names no file for its disk "${printable(reference)}"`);
  if (file.has("compression") && file.get("compression") !== "identity") return refused6(name, "says that its disk is compressed as a whole", "Unpack the disk and give it alone.");
  if (file.has("chunkSize")) return refused6(name, "says that its disk is in several pieces", "Join the pieces and give the disk alone.");
  if (!/^[^/\\\0]+$/.test(href) || href === "." || href === "..") return refused6(name, `names the disk "${printable(href)}", which is no file beside it`);
  return Either21.right(href);
};
var manifestOf = (text5, name) => {
  const stated = /* @__PURE__ */ new Map();
  for (const line of text5.split(/\r?\n/)) {
    if (line.trim() === "") continue;
    const [, algorithm = "", file = "", hex2 = ""] = /^SHA(1|256|512)\s*\((.+)\)\s*=\s*([0-9A-Fa-f]+)\s*$/.exec(line) ?? [];
    if (file === "" || stated.has(file)) return Either21.left(new ImageError(errorFields("DISK_INVALID", `The manifest of ${name} is malformed at "${printable(line.slice(0, 80))}"`)));
    stated.set(file, { algorithm: `sha${algorithm}`, hex: hex2.toLowerCase() });
  }
  return Either21.right(stated);
};

// src/backends/vm/Ova.ts
var PIECE3 = 1024 * 1024;
var isArchive = (place3) => Effect45.map(bytesAt(place3, 257, 5), (magic) => magic.toString("latin1") === "ustar");
var diskOf2 = (archive) => Effect45.gen(function* () {
  const { handle, length, name } = archive;
  const members = yield* read(handle, length, name, "DISK_INVALID");
  const file = (wanted) => {
    const member = members.get(wanted);
    return member?._tag === "File" ? Effect45.succeed({ handle, name: `${name}, ${printable(wanted)}`, offset: member.offset, length: member.size }) : Effect45.fail(new ImageError(errorFields("DISK_INVALID", `${name} has no file "${printable(wanted)}"`)));
  };
  const ending = (end) => [...members.keys()].filter((each) => each.toLowerCase().endsWith(end));
  const [descriptor, ...further] = ending(".ovf");
  if (descriptor === void 0) {
    return yield* new ImageError(errorFields("DISK_INVALID", `${name} is a tar archive without an OVF descriptor`, { remedy: "Give an OVA, or import a root file system as custom:NAME." }));
  }
  if (further.length > 0) return yield* new ImageError(errorFields("DISK_INVALID", `${name} has ${further.length + 1} OVF descriptors`));
  const document = yield* file(descriptor);
  const disk = yield* file(yield* diskOf(yield* textOf4(document), name));
  const href = disk.name.slice(name.length + 2);
  const [manifest] = ending(".mf");
  if (manifest !== void 0) yield* verify(yield* textOf4(yield* file(manifest)), name, [[descriptor, document], [href, disk]]);
  return disk;
});
var verify = (manifest, name, files4) => Effect45.gen(function* () {
  const stated = yield* manifestOf(manifest, name);
  for (const [file, place3] of files4) {
    const hash2 = stated.get(file);
    if (hash2 === void 0) return yield* new ImageError(errorFields("DISK_INVALID", `The manifest of ${name} says nothing of "${printable(file)}"`));
    if ((yield* hashOf(place3, hash2.algorithm)) !== hash2.hex) {
      return yield* new ImageError(errorFields("DIGEST_MISMATCH", `The file "${printable(file)}" of ${name} is not what its manifest says`, { remedy: "Export the machine again, or fetch the file again." }));
    }
  }
});
var textOf4 = (place3) => place3.length > documentBytes ? Effect45.fail(new ImageError(errorFields("LIMIT_EXCEEDED", `${place3.name} has ${place3.length} bytes, more than ${documentBytes}`))) : Effect45.map(bytesAt(place3, 0, place3.length), (bytes2) => bytes2.toString("utf8"));
var hashOf = ({ handle, length, name, offset }, algorithm) => Effect45.tryPromise({
  try: (signal) => hashed(handle, offset, length, algorithm, signal),
  catch: (error) => new ImageError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${name} can't be read: ${messageOf(error)}`, { cause: error }))
});
var hashed = async (handle, offset, length, algorithm, signal) => {
  const hash2 = createHash13(algorithm);
  const piece = Buffer.alloc(PIECE3);
  for (let at = 0; at < length; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(piece, 0, Math.min(PIECE3, length - at), offset + at);
    if (bytesRead === 0) throw new Error("it ends in the middle of a member");
    hash2.update(piece.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash2.digest("hex");
};

// src/backends/vm/Given.ts
var GIVEN = "given";
var take = (room2, path3, name, options2) => Effect46.gen(function* () {
  const file = room2.at(GIVEN);
  const given2 = options2.file === void 0 ? yield* copied(path3, file, name, options2) : options2.file;
  if (given2.path !== file) yield* Effect46.tryPromise({ try: () => rename7(given2.path, file), catch: (error) => unusable2(file, error) });
  yield* readable(file);
  return { ...given2, path: file };
});
var opened3 = (file, length, name) => Effect46.acquireRelease(
  Effect46.tryPromise({ try: () => open19(file, "r"), catch: (error) => unusable2(file, error) }),
  (handle) => Effect46.promise(() => handle.close())
).pipe(Effect46.map((handle) => ({ handle, offset: 0, length, name })));
var copied = (path3, file, name, options2) => Effect46.gen(function* () {
  const descriptor = yield* descriptorOf(path3, name);
  if (descriptor === void 0) return yield* copy2(path3, file, options2);
  const directory3 = nodePath23.dirname(descriptor);
  const document = yield* beside2(directory3, nodePath23.basename(descriptor), name);
  const href = yield* diskOf(yield* textOf4(document), name);
  yield* beside2(directory3, href, name);
  const given2 = yield* copy2(nodePath23.join(directory3, href), file, options2);
  const manifest = nodePath23.basename(descriptor).replace(/\.ovf$/i, ".mf");
  if (yield* exists(nodePath23.join(directory3, manifest))) {
    const disk = yield* opened3(file, given2.bytes, name);
    yield* verify(yield* textOf4(yield* beside2(directory3, manifest, name)), name, [[nodePath23.basename(descriptor), document], [href, disk]]);
  }
  return given2;
});
var copy2 = (path3, file, { limits: limits2, workspace }) => copy(path3, void 0, { program: workspace.program("shifter-open"), file, most: limits2.blobBytes }).pipe(
  Effect46.mapError((error) => error._tag === "ImageError" ? error : new ImageError(carried(error)))
);
var descriptorOf = (path3, name) => Effect46.gen(function* () {
  const status = yield* Effect46.tryPromise({ try: () => stat5(path3), catch: (error) => unavailable2(path3, messageOf(error)) });
  if (!status.isDirectory()) return path3.toLowerCase().endsWith(".ovf") ? path3 : void 0;
  const names2 = yield* Effect46.tryPromise({ try: () => readdir4(path3), catch: (error) => unavailable2(path3, messageOf(error)) });
  const [descriptor, ...further] = names2.filter((each) => each.toLowerCase().endsWith(".ovf"));
  if (descriptor === void 0 || further.length > 0) {
    return yield* new ImageError(errorFields("DISK_INVALID", `${name}: the directory has ${names2.length === 0 ? "nothing" : `${descriptor === void 0 ? "no" : "more than one"} OVF descriptor`}`, { remedy: "Name a disk, or the descriptor." }));
  }
  return nodePath23.join(path3, descriptor);
});
var exists = (path3) => Effect46.promise(() => stat5(path3).then(() => true, () => false));
var beside2 = (directory3, file, name) => Effect46.gen(function* () {
  const path3 = nodePath23.join(directory3, file);
  const { size } = yield* regular2(path3).pipe(Effect46.mapError((error) => unavailable2(path3, error.what)));
  return yield* opened3(path3, size, `${name}, ${file}`);
});
var unavailable2 = (path3, what) => new ImageError(errorFields("FILE_UNAVAILABLE", `${path3} can't be read: ${what}`, { remedy: "Name a file that this account can read." }));

// src/backends/vm/Recognize.ts
import * as Effect53 from "effect/Effect";

// src/backends/vm/Qcow2.ts
import * as Effect47 from "effect/Effect";
var MAGIC2 = 1363560955;
var HEADER = 112;
var CORRUPT = 1n << 1n;
var EXTERNAL_DATA = 1n << 2n;
var KNOWN = 0b11111n;
var BACKING_FORMAT = 3799591626;
var DATA_FILE = 1145132097;
var EXTENSIONS = 64 * 1024;
var qcow2 = (place3) => Effect47.gen(function* () {
  const header = yield* bytesAt(place3, 0, HEADER);
  if (header.readUInt32BE(0) !== MAGIC2) return void 0;
  const version3 = header.readUInt32BE(4);
  if (version3 !== 2 && version3 !== 3) return yield* refusal3(place3, "DISK_UNSUPPORTED", `is a qcow image of version ${version3}, not 2 or 3`, makeWhole);
  if (header.readBigUInt64BE(8) !== 0n || header.readUInt32BE(16) !== 0) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "holds only what differs from another file, its backing file, which is not opened", makeWhole);
  }
  if (header.readUInt32BE(32) !== 0) return yield* refusal3(place3, "DISK_UNSUPPORTED", "is encrypted", "Convert it to a plain image where its key is: qemu-img convert.");
  const features = version3 === 3 ? header.readBigUInt64BE(72) : 0n;
  if ((features & EXTERNAL_DATA) !== 0n) return yield* refusal3(place3, "DISK_UNSUPPORTED", "keeps its data in another file, which is not opened", makeWhole);
  if ((features & CORRUPT) !== 0n) return yield* refusal3(place3, "DISK_INVALID", "is marked as damaged", "Repair it: qemu-img check -r all DISK.");
  if ((features & ~KNOWN) !== 0n) return yield* refusal3(place3, "DISK_UNSUPPORTED", "has features that are not known", makeWhole);
  const start2 = version3 === 3 ? header.readUInt32BE(100) : 72;
  const area = yield* wholeAt(place3, 0, Math.min(EXTENSIONS, place3.length));
  for (let at = start2; at + 8 <= area.length; ) {
    const type = area.readUInt32BE(at);
    if (type === 0) break;
    if (type === BACKING_FORMAT) return yield* refusal3(place3, "DISK_UNSUPPORTED", "speaks of a backing file, which is not opened", makeWhole);
    if (type === DATA_FILE) return yield* refusal3(place3, "DISK_UNSUPPORTED", "keeps its data in another file, which is not opened", makeWhole);
    at += 8 + Math.ceil(area.readUInt32BE(at + 4) / 8) * 8;
  }
  return { format: "qcow2", virtualBytes: Number(header.readBigUInt64BE(24)) };
});

// src/backends/vm/Raw.ts
import * as Effect48 from "effect/Effect";
var HEAD = 128 * 1024;
var mark = (at, bytes2) => ({ at, bytes: Buffer.from(bytes2, "latin1") });
var disks = [
  mark(510, "U\xAA"),
  mark(512, "EFI PART"),
  mark(4096, "EFI PART"),
  mark(1080, "S\xEF"),
  mark(0, "XFSB"),
  mark(65600, "_BHRfS_M"),
  ...[0, 512, 1024, 1536].map((at) => mark(at, "LABELONE")),
  mark(4086, "SWAPSPACE2"),
  mark(0, "LUKS\xBA\xBE"),
  mark(4096, "\xFCN+\xA9"),
  mark(0, "\xFCN+\xA9")
];
var others = [
  { ...mark(0, "\x8B"), what: "is compressed with gzip", remedy: "Unpack it first: gunzip." },
  { ...mark(0, "\xFD7zXZ\0"), what: "is compressed with xz", remedy: "Unpack it first: unxz." },
  { ...mark(0, "BZh"), what: "is compressed with bzip2", remedy: "Unpack it first: bunzip2." },
  { ...mark(0, "(\xB5/\xFD"), what: "is compressed with zstd", remedy: "Unpack it first: unzstd." },
  { ...mark(0, "hsqs"), what: "is a squashfs, not a disk", remedy: "Import it as custom:NAME." },
  { ...mark(32769, "CD001"), what: "is a CD image", remedy: "Install the machine from it, and give the disk that it is installed on." }
];
var raw = (place3) => Effect48.gen(function* () {
  const head = yield* bytesAt(place3, 0, HEAD);
  const has = ({ at, bytes: bytes2 }) => head.subarray(at, at + bytes2.length).equals(bytes2);
  const other = others.find(has);
  if (other !== void 0) return yield* refusal3(place3, "DISK_UNSUPPORTED", other.what, other.remedy);
  return disks.some(has) ? { format: "raw", virtualBytes: place3.length } : void 0;
});

// src/backends/vm/Vdi.ts
import * as Effect49 from "effect/Effect";
var MAGIC3 = 3201962111;
var VERSION2 = 65537;
var DYNAMIC = 1;
var FIXED = 2;
var vdi = (place3) => Effect49.gen(function* () {
  const header = yield* bytesAt(place3, 0, 512);
  if (header.readUInt32LE(64) !== MAGIC3) return void 0;
  if (header.readUInt32LE(68) !== VERSION2) return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a VDI of a version that is not known", makeWhole);
  const type = header.readUInt32LE(76);
  const isLinked = header.subarray(424, 456).some((byte) => byte !== 0);
  if (type !== DYNAMIC && type !== FIXED || isLinked) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a snapshot: it holds only what differs from another file, which is not opened", makeWhole);
  }
  return { format: "vdi", virtualBytes: Number(header.readBigUInt64LE(368)) };
});

// src/backends/vm/Vhd.ts
import * as Effect50 from "effect/Effect";
var COOKIE = Buffer.from("conectix");
var FOOTER = 512;
var FIXED2 = 2;
var DYNAMIC2 = 3;
var vhd = (place3) => Effect50.gen(function* () {
  const first = yield* bytesAt(place3, 0, FOOTER);
  const footer = first.subarray(0, 8).equals(COOKIE) ? first : yield* bytesAt(place3, Math.max(0, place3.length - FOOTER), FOOTER);
  if (!footer.subarray(0, 8).equals(COOKIE)) return void 0;
  const type = footer.readUInt32BE(60);
  if (type !== FIXED2 && type !== DYNAMIC2) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a differencing disk: it holds only what differs from another file, which is not opened", makeWhole);
  }
  if (type === DYNAMIC2 !== (footer === first)) return yield* refusal3(place3, "DISK_INVALID", "is a VHD whose two ends say different things");
  return { format: "vhd", virtualBytes: Number(footer.readBigUInt64BE(48)) };
});

// src/backends/vm/Vhdx.ts
import * as Effect51 from "effect/Effect";
var SIGNATURE = Buffer.from("vhdxfile");
var REGION_TABLES = [192 * 1024, 256 * 1024];
var TABLE = 64 * 1024;
var REGIONS = 2047;
var METADATA_REGION = "06a27c8b90479a4bb8fe575f050f886e";
var FILE_PARAMETERS = "3767a1ca36fa434db3b633f0aa44e76b";
var DISK_SIZE = "2442a52f1bcd7648b2115dbed83bf4b8";
var PARENT_LOCATOR = "2d5fd3a80bb34d45abf7d3d84834ab0c";
var HAS_PARENT = 2;
var vhdx = (place3) => Effect51.gen(function* () {
  if (!(yield* bytesAt(place3, 0, 8)).equals(SIGNATURE)) return void 0;
  const damaged = refusal3(place3, "DISK_INVALID", "is a VHDX whose tables are damaged");
  const tables = yield* Effect51.forEach(REGION_TABLES, (at) => wholeAt(place3, at, TABLE));
  const region = tables.find((table) => table.toString("latin1", 0, 4) === "regi");
  if (region === void 0) return yield* damaged;
  const metadataAt = entries(region, 16, Math.min(region.readUInt32LE(8), REGIONS)).find(({ id }) => id === METADATA_REGION)?.offset;
  if (metadataAt === void 0) return yield* damaged;
  const metadata = yield* wholeAt(place3, metadataAt, TABLE);
  if (metadata.toString("latin1", 0, 8) !== "metadata") return yield* damaged;
  const items = new Map(
    Array.from({ length: Math.min(metadata.readUInt16LE(10), REGIONS) }, (_, i) => 32 + i * 32).filter((at) => at + 32 <= metadata.length).map((at) => [metadata.toString("hex", at, at + 16), metadataAt + metadata.readUInt32LE(at + 16)])
  );
  const parameters = items.get(FILE_PARAMETERS);
  const size = items.get(DISK_SIZE);
  if (parameters === void 0 || size === void 0) return yield* damaged;
  if (items.has(PARENT_LOCATOR) || ((yield* wholeAt(place3, parameters, 8)).readUInt32LE(4) & HAS_PARENT) !== 0) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a differencing disk: it holds only what differs from another file, which is not opened", makeWhole);
  }
  return { format: "vhdx", virtualBytes: Number((yield* wholeAt(place3, size, 8)).readBigUInt64LE(0)) };
});
var entries = (table, start2, count3) => Array.from({ length: count3 }, (_, i) => start2 + i * 32).filter((at) => at + 32 <= table.length).map((at) => ({ id: table.toString("hex", at, at + 16), offset: Number(table.readBigUInt64LE(at + 16)) }));

// src/backends/vm/Vmdk.ts
import * as Effect52 from "effect/Effect";
var SECTOR = 512;
var SPARSE = Buffer.from("KDMV");
var OLD_SPARSE = Buffer.from("COWD");
var DESCRIPTOR = "# Disk DescriptorFile";
var DESCRIPTOR_BYTES = 64 * 1024;
var NO_PARENT = "ffffffff";
var ONE_FILE = ["monolithicSparse", "streamOptimized"];
var NOTHING = 0n;
var vmdk = (place3) => Effect52.gen(function* () {
  const header = yield* bytesAt(place3, 0, SECTOR);
  if (header.toString("latin1", 0, DESCRIPTOR.length) === DESCRIPTOR) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a descriptor: its data is in other files, which are not opened", "Give the file that ends in -flat.vmdk, or make one file of it: qemu-img convert -O qcow2 DISK NEW.");
  }
  if (header.subarray(0, 4).equals(OLD_SPARSE)) return yield* refusal3(place3, "DISK_UNSUPPORTED", "is one extent of a disk of several files", makeWhole);
  if (!header.subarray(0, 4).equals(SPARSE)) return void 0;
  const version3 = header.readUInt32LE(4);
  if (version3 < 1 || version3 > 3) return yield* refusal3(place3, "DISK_UNSUPPORTED", `is a VMDK of version ${version3}`, makeWhole);
  const capacity = header.readBigUInt64LE(12);
  const at = Number(header.readBigUInt64LE(28)) * SECTOR;
  const length = Number(header.readBigUInt64LE(36)) * SECTOR;
  if (capacity === NOTHING) return yield* refusal3(place3, "DISK_UNSUPPORTED", "has no data of its own: that of other files is not opened", makeWhole);
  if (at === 0 || length === 0) return yield* refusal3(place3, "DISK_UNSUPPORTED", "is one extent of a disk of several files", makeWhole);
  yield* checkDescriptor(place3, (yield* wholeAt(place3, at, Math.min(length, DESCRIPTOR_BYTES))).toString("latin1").split("\0", 1)[0] ?? "");
  return { format: "vmdk", virtualBytes: Number(capacity) * SECTOR };
});
var settings2 = (text5) => new Map(text5.split(/\r?\n/).flatMap((line) => {
  const [, key, value9] = /^\s*([A-Za-z0-9_.]+)\s*=\s*"?([^"]*)"?\s*$/.exec(line) ?? [];
  return key === void 0 || value9 === void 0 ? [] : [[key.toLowerCase(), value9]];
}));
var checkDescriptor = (place3, text5) => Effect52.gen(function* () {
  const found = settings2(text5);
  const parent = found.get("parentcid") ?? NO_PARENT;
  if (found.has("parentfilenamehint") || parent.toLowerCase() !== NO_PARENT) {
    return yield* refusal3(place3, "DISK_UNSUPPORTED", "is a snapshot: it holds only what differs from another file, which is not opened", makeWhole);
  }
  const type = found.get("createtype") ?? "";
  if (!ONE_FILE.includes(type)) return yield* refusal3(place3, "DISK_UNSUPPORTED", `is a VMDK of the type "${type}", not of one file`, makeWhole);
  const extents = text5.split(/\r?\n/).filter((line) => /^\s*(?:RW|RDONLY|NOACCESS)\s/.test(line));
  const isItself = extents.length === 1 && /^\s*RW\s+[0-9]+\s+SPARSE\s+"[^"/\\]*"\s*$/.test(extents[0] ?? "");
  if (!isItself) return yield* refusal3(place3, "DISK_UNSUPPORTED", "names extents in other files, which are not opened", makeWhole);
});

// src/backends/vm/Recognize.ts
var recognizers = [qcow2, vmdk, vdi, vhdx, vhd, raw];
var recognize = (place3, mostBytes) => Effect53.gen(function* () {
  for (const recognizer of recognizers) {
    const found = yield* recognizer(place3);
    if (found === void 0) continue;
    if (found.virtualBytes > mostBytes) {
      return yield* refusal3(place3, "LIMIT_EXCEEDED", `has ${found.virtualBytes} bytes, more than ${mostBytes}`, 'Ask the administrator to raise "vm.virtualBytes", or give a smaller disk.');
    }
    return found;
  }
  return yield* refusal3(place3, "DISK_INVALID", "is no disk image that is known: it has no partition table, no file system and no header of a format", "Give a raw, qcow2, VMDK, VDI, VHD or VHDX disk, or an OVA.");
});

// src/backends/vm/index.ts
var VERSION3 = 1;
var PARTITION = /^[A-Za-z0-9+_.@/-]{1,255}$/;
var vmSource = (settings4 = defaultVm) => ({
  types: ["vm"],
  refusesImport,
  resolve: (ref, options2) => options2.file === void 0 && isName(ref) ? Effect54.fail(importNeeded(ref)) : resolve7(ref, settings4, options2)
});
var isName = ({ reference }) => !reference.includes("/");
var refusesImport = (ref) => isName(ref) ? void 0 : { what: `An import can't be named vm:${ref.reference}, which is a path`, remedy: "Name it vm:NAME[:TAG]." };
var importNeeded = ({ reference }) => new ImageError(errorFields("IMPORT_NEEDED", `There is nowhere to pull vm:${reference} from`, { remedy: `Import it: shifterimg import vm:${reference} FILE; or write a path: vm:./${reference}.` }));
var resolve7 = (ref, settings4, options2) => Effect54.gen(function* () {
  const { partition, path: path3 } = yield* chosen(ref, options2);
  const name = `The disk of vm:${ref.reference}`;
  const room2 = yield* room(options2.workspace, settings4);
  const given2 = yield* take(room2, path3, name, options2);
  if (given2.bytes > options2.limits.blobBytes) {
    return yield* new ImageError(errorFields("LIMIT_EXCEEDED", `${name} has ${given2.bytes} bytes, more than ${options2.limits.blobBytes}`));
  }
  const file = yield* opened3(given2.path, given2.bytes, name);
  const place3 = (yield* isArchive(file)) ? yield* diskOf2(file) : file;
  const container = yield* recognize(place3, settings4.virtualBytes);
  const blob2 = { digest: given2.digest, bytes: given2.bytes, stored: void 0 };
  options2.onProgress({ _tag: "Layer", digest: given2.digest, received: given2.bytes, bytes: given2.bytes, cached: true });
  const disk = yield* Effect54.cached(read8(room2, place3, container, settings4, { ...options2, partition }));
  const stream2 = yield* oneLayer(given2.digest, Effect54.map(disk, ({ archive }) => archive), options2);
  return {
    sourceDigest: given2.digest,
    variant: `vm ${VERSION3} ${partition ?? ""}`,
    manifestDigest: void 0,
    platform: options2.platform,
    metadata: { env: [], entrypoint: [], command: [], labels: [] },
    read: Effect54.flatMap(disk, (found) => describe(found, container, options2.platform, name)),
    isPrivate: false,
    blobs: [blob2],
    open: Effect54.succeed(stream2)
  };
});
var chosen = ({ reference }, { file, partition }) => Effect54.gen(function* () {
  const hash2 = file === void 0 ? reference.lastIndexOf("#") : -1;
  const behind = hash2 < 0 ? "" : reference.slice(hash2 + 1);
  const path3 = hash2 < 0 ? reference : reference.slice(0, hash2);
  const wanted = partition ?? (behind === "" ? void 0 : behind);
  if (partition !== void 0 && behind !== "" && partition !== behind) {
    return yield* new ImageError(errorFields("USAGE", `vm:${reference} means the partition ${behind}, not ${partition}`, { remedy: "Name one of them." }));
  }
  if (wanted !== void 0 && !PARTITION.test(wanted)) {
    return yield* new ImageError(errorFields("USAGE", `"${wanted}" is no partition of a disk`, { remedy: "Write a number, VG/LV, or 2@SUBVOLUME, as they are listed." }));
  }
  return { path: path3, partition: wanted };
});
var read8 = (room2, place3, container, settings4, options2) => Effect54.gen(function* () {
  if (container.virtualBytes < 512) return yield* refusal3(place3, "DISK_INVALID", "has less than a sector");
  const raw2 = yield* toRaw(room2, GIVEN, place3, container, settings4);
  const disk = yield* read7(room2, raw2, place3.name, settings4, options2);
  for (const replayed of disk.replayed) {
    options2.onProgress({ _tag: "Warning", message: `The file system ${replayed} was not unmounted: its journal was replayed on a copy, and what was not in it yet is not there.` });
  }
  return disk;
});

// src/catalog/postgres/index.ts
init_Errors();
import { randomBytes as randomBytes11 } from "node:crypto";
import { readFile as readFile5 } from "node:fs/promises";
import { checkServerIdentity } from "node:tls";
import * as Reactivity from "@effect/experimental/Reactivity";
import * as Deferred3 from "effect/Deferred";
import * as Duration5 from "effect/Duration";
import * as Effect68 from "effect/Effect";
import * as Layer9 from "effect/Layer";
import * as Option7 from "effect/Option";
import * as Redacted8 from "effect/Redacted";
import * as Ref7 from "effect/Ref";
import * as Schedule4 from "effect/Schedule";
import * as Scope2 from "effect/Scope";
import * as Stream12 from "effect/Stream";

// src/catalog/sql/index.ts
init_Audit();
init_Catalog();
init_ImageIndex();
import * as Context15 from "effect/Context";
import * as Effect67 from "effect/Effect";
import * as Layer8 from "effect/Layer";

// src/core/PullQueue.ts
import * as Context13 from "effect/Context";
var PullQueue = class extends Context13.Tag("shifter-sdk/PullQueue")() {
};
var queueLeaseMillis = 6e3;
var placeLeaseMillis = 6e4;

// src/catalog/sql/index.ts
init_Tokens();

// src/catalog/sql/Audit.ts
init_Audit();
init_Errors();
import { randomBytes as randomBytes7 } from "node:crypto";
import * as Effect55 from "effect/Effect";
import * as Schema32 from "effect/Schema";
var actions = [
  "pull",
  "lookup",
  "remove",
  "expire",
  "import",
  "access",
  "pin",
  "unpin",
  "upload",
  "token",
  "collect",
  "scrub",
  "refused"
];
var text3 = Schema32.NullOr(Schema32.String);
var Row = Schema32.Struct({
  id: Schema32.Int,
  time: Schema32.Int,
  action: Schema32.Literal(...actions),
  uid: Schema32.NullOr(Schema32.Int),
  shown_by: Schema32.String,
  system: text3,
  reference: text3,
  image_id: text3,
  digest: text3,
  why: Schema32.String
});
var decodeRow = Schema32.decodeUnknown(Row);
var told = (row) => ({
  id: row.id,
  time: row.time,
  action: row.action,
  uid: row.uid ?? void 0,
  by: row.shown_by,
  system: row.system ?? void 0,
  reference: row.reference ?? void 0,
  imageId: row.image_id ?? void 0,
  digest: row.digest ?? void 0,
  why: row.why
});
var make19 = ({ dialect: dialect2, read: read10, write: write4 }) => {
  const clock = (sql) => sql.literal(dialect2.now);
  return Audit.of({
    write: (entry) => {
      const key = randomBytes7(12).toString("hex");
      return Effect55.asVoid(
        write4(
          (sql) => sql`INSERT INTO audit (entry, time, action, uid, shown_by, system, reference, image_id, digest, why)
            VALUES (${key}, ${clock(sql)}, ${entry.action}, ${entry.uid ?? null}, ${entry.by}, ${entry.system ?? null}, ${entry.reference ?? null},
              ${entry.imageId ?? null}, ${entry.digest ?? null}, ${entry.why}) ON CONFLICT (entry) DO NOTHING`
        )
      );
    },
    page: ({ action, before, limit: limit2, system: system2, uid }) => read10(
      (sql) => Effect55.flatMap(
        sql`SELECT id, time, action, uid, shown_by, system, reference, image_id, digest, why FROM audit WHERE ${sql.and([
          before === void 0 ? "1 = 1" : sql`id < ${before}`,
          system2 === void 0 ? "1 = 1" : sql`system = ${system2}`,
          uid === void 0 ? "1 = 1" : sql`uid = ${uid}`,
          action === void 0 ? "1 = 1" : sql`action = ${action}`
        ])} ORDER BY id DESC LIMIT ${limit2}`,
        Effect55.forEach(
          (row) => Effect55.mapBoth(decodeRow(row), {
            onSuccess: told,
            onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A row of the audit log is not valid: ${error.message}`))
          })
        )
      )
    ),
    prune: (olderThan) => Effect55.map(write4((sql) => sql`DELETE FROM audit WHERE time < ${clock(sql)} - ${olderThan} RETURNING id`), (rows) => rows.length)
  });
};

// src/catalog/sql/Catalog.ts
init_Catalog();
init_Errors();
init_Progress();
import { randomBytes as randomBytes8 } from "node:crypto";
import * as Effect56 from "effect/Effect";
var make20 = ({ dialect: dialect2, read: read10, write: write4 }) => {
  const clock = (sql) => sql.literal(dialect2.now);
  const isAlive = (sql) => sql`state = 'active' AND lease_until > ${clock(sql)}`;
  return Catalog.of({
    begin: (request) => write4(
      (sql) => sql`INSERT INTO pulls (token, system, reference, requester, state, phase, lease_until, changed)
          VALUES (${randomBytes8(16).toString("hex")}, ${request.system}, ${request.reference}, ${request.requester}, 'active', 'resolve', ${clock(sql)} + ${leaseMillis}, ${clock(sql)})
          RETURNING id, token`
    ).pipe(Effect56.flatMap(([row]) => row === void 0 ? new CatalogError(errorFields("CATALOG_FAILED", "The catalogue made no row")) : Effect56.succeed(row))),
    claim: (pull2, imageId) => write4(
      (sql) => Effect56.gen(function* () {
        const now = clock(sql);
        yield* sql`UPDATE pulls SET state = 'reaping', lease_until = ${now} + ${leaseMillis}, changed = ${now} WHERE id IN (SELECT p.id FROM pulls p, pulls mine
            WHERE mine.id = ${pull2.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id
            AND p.phase = 'fetch' AND p.changed < ${now} - ${fetchMillis} AND p.reference <> mine.reference)`;
        const [other] = yield* sql`SELECT p.id, CASE WHEN p.reference = mine.reference AND p.requester = mine.requester THEN 1 ELSE 0 END AS same
            FROM pulls p, pulls mine
            WHERE mine.id = ${pull2.id} AND p.system = mine.system AND p.image_id = ${imageId} AND p.state = 'active' AND p.id <> mine.id`;
        if (other !== void 0) return { _tag: "Theirs", pull: other.id, isSameRequest: other.same === 1 };
        const mine = yield* sql`UPDATE pulls SET image_id = ${imageId}, lease_until = ${now} + ${leaseMillis} WHERE id = ${pull2.id} AND state = 'active' RETURNING id`;
        return mine.length === 1 ? { _tag: "Mine" } : yield* new CatalogError(errorFields("LEASE_LOST", "This pull was silent for too long"));
      })
    ),
    renew: (pull2) => write4((sql) => sql`UPDATE pulls SET lease_until = ${clock(sql)} + ${leaseMillis} WHERE id = ${pull2.id} AND ${isAlive(sql)} RETURNING id`).pipe(
      Effect56.map((found) => found.length === 1)
    ),
    enter: (pull2, phase) => write4(
      (sql) => sql`UPDATE pulls SET phase = ${phase}, lease_until = ${clock(sql)} + ${leaseMillis}, changed = ${clock(sql)} WHERE id = ${pull2.id} AND ${isAlive(sql)} RETURNING id`
    ).pipe(Effect56.map((found) => found.length === 1)),
    end: (pull2, state) => write4(
      (sql) => sql`UPDATE pulls SET state = ${state._tag.toLowerCase()}, code = ${state._tag === "Failed" ? state.code : null},
            what = ${state._tag === "Failed" ? state.what : null}, changed = ${clock(sql)} WHERE id = ${pull2.id} AND state = 'active'`
    ).pipe(Effect56.asVoid),
    running: read10((sql) => sql`SELECT token FROM pulls WHERE state IN ('active', 'reaping')`).pipe(Effect56.map((rows) => rows.map(({ token }) => token))),
    state: (pull2) => read10((sql) => sql`SELECT state, phase, code, what, CASE WHEN lease_until <= ${clock(sql)} THEN 1 ELSE 0 END AS overdue FROM pulls WHERE id = ${pull2}`).pipe(
      Effect56.map(([row]) => {
        switch (row?.state) {
          case "active":
            return { _tag: "Active", phase: phases.find((phase) => phase === row.phase) ?? "resolve", isOverdue: row.overdue === 1 };
          case "done":
            return { _tag: "Done" };
          case "failed":
            return { _tag: "Failed", code: row.code ?? "", what: row.what ?? "" };
          default:
            return { _tag: "Abandoned" };
        }
      })
    ),
    reap: write4(
      (sql) => Effect56.gen(function* () {
        const now = clock(sql);
        yield* sql`DELETE FROM pulls WHERE state <> 'active' AND changed < ${now} - ${retryMillis}`;
        yield* sql`DELETE FROM blob_uses WHERE pull NOT IN (SELECT id FROM pulls)`;
        return yield* sql`UPDATE pulls SET changed = CASE state WHEN 'active' THEN ${now} ELSE changed END, state = 'reaping', lease_until = ${now} + ${leaseMillis}
          WHERE state IN ('active', 'reaping') AND lease_until <= ${now} RETURNING id, token, system`;
      })
    ),
    reaped: (pull2) => write4((sql) => sql`UPDATE pulls SET state = 'abandoned' WHERE id = ${pull2.id} AND state = 'reaping'`).pipe(Effect56.asVoid),
    useBlobs: (pull2, blobs) => write4(
      (sql) => Effect56.gen(function* () {
        yield* dialect2.exclusive(sql, "blobs");
        for (const blob2 of blobs) yield* sql`INSERT INTO blob_uses (pull, blob) VALUES (${pull2.id}, ${blob2}) ON CONFLICT DO NOTHING`;
      })
    ),
    hasLeftBlobs: (pull2) => read10(
      (sql) => sql`SELECT 1 FROM blob_uses WHERE pull IN (SELECT p.id FROM pulls p, pulls mine
          WHERE mine.id = ${pull2.id} AND p.state <> 'active' AND p.system = mine.system AND p.reference = mine.reference) LIMIT 1`
    ).pipe(Effect56.map((rows) => rows.length > 0)),
    releaseBlobs: (pull2) => write4(
      (sql) => Effect56.gen(function* () {
        yield* sql`DELETE FROM blob_uses WHERE pull = ${pull2.id}`;
        yield* sql`DELETE FROM blob_uses WHERE pull IN (SELECT p.id FROM pulls p, pulls mine
            WHERE mine.id = ${pull2.id} AND p.state <> 'active' AND p.system = mine.system
            AND (p.image_id = mine.image_id OR p.reference = mine.reference))`;
      })
    ),
    unused: (blobs, f) => write4(
      (sql) => Effect56.gen(function* () {
        yield* dialect2.exclusive(sql, "blobs");
        const used = new Set((yield* sql`SELECT DISTINCT blob FROM blob_uses`).map(({ blob: blob2 }) => blob2));
        for (const blob2 of blobs) if (!used.has(blob2)) yield* f(blob2);
      })
    )
  });
};

// src/catalog/sql/ImageIndex.ts
init_Errors();
init_ImageIndex();
init_ImageRecord();
import * as Effect60 from "effect/Effect";

// src/catalog/sql/ImageRow.ts
init_Errors();
init_ImageRecord();
import * as Effect57 from "effect/Effect";
import * as Either22 from "effect/Either";
import * as Schema33 from "effect/Schema";
var NEVER = Number.MAX_SAFE_INTEGER;
var time = Schema33.NullOr(Schema33.Int);
var Row2 = Schema33.Struct({
  name: Schema33.String,
  system: Schema33.String,
  id: Schema33.String,
  record: Schema33.Union(Schema33.instanceOf(Uint8Array), Schema33.instanceOf(ArrayBuffer)),
  published: Schema33.Int,
  used: Schema33.Int,
  expires: time,
  unnamed: time,
  scrubbed: time,
  damage: Schema33.NullOr(Schema33.String),
  names: Schema33.NullOr(Schema33.parseJson(Schema33.Array(Schema33.String))),
  pins: Schema33.NullOr(Schema33.parseJson(Schema33.Array(Schema33.Int)))
});
var decodeRow2 = Schema33.decodeUnknownEither(Row2);
var select = (sql, dialect2, name, from) => {
  const array = sql.literal(dialect2.jsonArray);
  return Effect57.flatMap(
    sql`SELECT ${name} AS name, i.system, i.id, i.record, i.published, i.used, i.expires, i.unnamed, i.scrubbed, i.damage,
      (SELECT CAST(${array}(m.name ORDER BY m.name) AS TEXT) FROM image_names m WHERE m.system = i.system AND m.id = i.id) AS names,
      (SELECT CAST(${array}(p.uid ORDER BY p.uid) AS TEXT) FROM image_pins p WHERE p.system = i.system AND p.id = i.id) AS pins
      FROM ${from}`,
    (rows) => Either22.all(rows.map(told2))
  );
};
var invalid = (what) => new CatalogError(errorFields("CATALOG_FAILED", `An image of the catalogue is not valid: ${what}`));
var told2 = (row) => Either22.gen(function* () {
  const found = yield* Either22.mapLeft(decodeRow2(row), (error) => invalid(error.message));
  const record = yield* Either22.mapLeft(decode6(found.record instanceof Uint8Array ? found.record : new Uint8Array(found.record)), (error) => invalid(error.what));
  const image2 = {
    system: found.system,
    record,
    names: found.names ?? [],
    published: found.published,
    used: found.used,
    expires: found.expires === null || found.expires === NEVER ? void 0 : found.expires,
    unnamed: found.unnamed ?? void 0,
    pins: found.pins ?? [],
    scrubbed: found.scrubbed ?? void 0,
    damage: found.damage ?? void 0
  };
  return { name: found.name, image: image2 };
});

// src/catalog/sql/ImageWrites.ts
import * as Effect58 from "effect/Effect";
var GROUP = 2 ** 32;
var changing = ({ dialect: dialect2, write: write4 }) => (work) => write4((sql) => Effect58.zipRight(dialect2.exclusive(sql, "images"), work(sql)));
var ROWS = 2e3;
var inParts = (all7, f) => Effect58.gen(function* () {
  for (let i = 0; i < all7.length; i += ROWS) yield* f(all7.slice(i, i + ROWS));
});
var timeOf = (sql, now) => Effect58.map(sql`SELECT ${now} AS now`, ([row]) => Number(row?.now ?? 0));
var put2 = (sql, now, system2, images2, expiresIn) => Effect58.gen(function* () {
  if (images2.length === 0) return;
  const time2 = yield* timeOf(sql, now);
  const ids = images2.map(({ record }) => record.id);
  const rows = images2.map(({ bytes: bytes2, record: { access: access2, id, owner } }) => ({
    system: system2,
    id,
    record: bytes2,
    is_public: access2 === "public" ? 1 : 0,
    owner,
    published: time2,
    changed: time2,
    used: time2,
    expires: expiresIn === void 0 ? null : time2 + expiresIn,
    unnamed: time2
  }));
  yield* inParts(rows, (part) => sql`INSERT INTO images ${sql.insert(part)}
      ON CONFLICT (system, id) DO UPDATE SET record = excluded.record, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`);
  yield* sql`UPDATE image_names SET
      is_public = (SELECT i.is_public FROM images i WHERE i.system = image_names.system AND i.id = image_names.id),
      owner = (SELECT i.owner FROM images i WHERE i.system = image_names.system AND i.id = image_names.id) WHERE system = ${system2} AND ${sql.in("id", ids)}`;
  yield* settle(sql, now, system2, ids);
  yield* sql`DELETE FROM image_access WHERE system = ${system2} AND ${sql.in("id", ids)}`;
  const listed2 = images2.flatMap(
    ({ record: { access: access2, allowGids, allowUids, id } }) => access2 === "public" ? [] : [.../* @__PURE__ */ new Set([...allowUids, ...allowGids.map((gid) => GROUP + gid)])].map((who) => ({ system: system2, id, who }))
  );
  yield* inParts(listed2, (part) => sql`INSERT INTO image_access ${sql.insert(part)}`);
  yield* sql`DELETE FROM image_gone WHERE system = ${system2} AND ${sql.in("name", ids.map((id) => `id:${id}`))}`;
});
var NOBODY = -2;
var conceal = (sql, now, system2, id) => Effect58.gen(function* () {
  yield* sql`UPDATE images SET is_public = 0, owner = ${NOBODY}, changed = ${now} WHERE system = ${system2} AND id = ${id}`;
  yield* sql`UPDATE image_names SET is_public = 0, owner = ${NOBODY} WHERE system = ${system2} AND id = ${id}`;
  yield* sql`DELETE FROM image_access WHERE system = ${system2} AND id = ${id}`;
});
var settle = (sql, now, system2, ids) => sql`UPDATE images SET unnamed = CASE WHEN EXISTS (SELECT 1 FROM image_names n WHERE n.system = images.system AND n.id = images.id) THEN NULL ELSE COALESCE(unnamed, ${now}) END
    WHERE system = ${system2} AND ${sql.in("id", ids)}`;
var setNames = (sql, now, system2, names2) => Effect58.gen(function* () {
  if (names2.length === 0) return;
  const time2 = yield* timeOf(sql, now);
  const references = names2.map(({ reference }) => reference);
  const before = yield* sql`SELECT id FROM image_names WHERE system = ${system2} AND ${sql.in("name", references)}`;
  const ids = [...new Set([...names2, ...before].map(({ id }) => id))];
  const images2 = yield* sql`SELECT id, is_public, owner FROM images WHERE system = ${system2} AND ${sql.in("id", ids)}`;
  const known2 = new Map(images2.map((image2) => [image2.id, image2]));
  const rows = names2.map(({ id, reference }) => {
    const { is_public, owner } = known2.get(id) ?? { is_public: 0, owner: NOBODY };
    return { system: system2, name: reference, id, is_public, owner, changed: time2 };
  });
  yield* inParts(rows, (part) => sql`INSERT INTO image_names ${sql.insert(part)}
      ON CONFLICT (system, name) DO UPDATE SET id = excluded.id, is_public = excluded.is_public, owner = excluded.owner, changed = excluded.changed`);
  yield* sql`DELETE FROM image_gone WHERE system = ${system2} AND ${sql.in("name", references)}`;
  yield* settle(sql, now, system2, ids);
});
var dropName = (sql, now, system2, name) => Effect58.gen(function* () {
  yield* gone(sql, now, system2, name);
  const [before] = yield* sql`DELETE FROM image_names WHERE system = ${system2} AND name = ${name} RETURNING id`;
  if (before !== void 0) yield* settle(sql, now, system2, [before.id]);
});
var drop = (sql, now, system2, id) => Effect58.gen(function* () {
  const names2 = yield* sql`DELETE FROM image_names WHERE system = ${system2} AND id = ${id} RETURNING name`;
  for (const { name } of [...names2, { name: `id:${id}` }]) yield* gone(sql, now, system2, name);
  yield* sql`DELETE FROM image_access WHERE system = ${system2} AND id = ${id}`;
  yield* sql`DELETE FROM image_pins WHERE system = ${system2} AND id = ${id}`;
  yield* sql`DELETE FROM images WHERE system = ${system2} AND id = ${id}`;
});
var gone = (sql, now, system2, name) => sql`INSERT INTO image_gone (system, name, gone) VALUES (${system2}, ${name}, ${now}) ON CONFLICT (system, name) DO UPDATE SET gone = excluded.gone`;

// src/catalog/sql/Reconcile.ts
init_Errors();
init_ImageRecord();
import * as Effect59 from "effect/Effect";
var TOGETHER = 250;
var ROWS2 = 500;
var GONE_MILLIS = 24 * 3600 * 1e3;
var reconcile = (database, system2, found, expiresIn) => Effect59.gen(function* () {
  const { began } = found;
  const { dialect: dialect2, read: read10 } = database;
  const clock = (sql) => sql.literal(dialect2.now);
  const change = changing(database);
  const counted = { added: 0, removed: 0, changed: 0 };
  const all7 = (part) => Effect59.gen(function* () {
    const rows = [];
    for (let more = true; more; ) {
      const next = yield* read10((sql) => part(sql, rows.at(-1)?.key ?? ""));
      rows.push(...next);
      more = next.length === ROWS2;
    }
    return rows;
  });
  const apply = (work) => Effect59.map(change(work), ({ added = 0, changed = 0, removed: removed2 = 0 }) => {
    counted.added += added;
    counted.changed += changed;
    counted.removed += removed2;
  });
  const inParts2 = (things, f) => Effect59.gen(function* () {
    for (let i = 0; i < things.length; i += TOGETHER) yield* apply(f(things.slice(i, i + TOGETHER)));
  });
  const stale = (sql, things, nameOf4, goneOf, rows) => Effect59.gen(function* () {
    const there = new Map(rows.map(({ changed: changed2, name }) => [name, changed2]));
    const gone2 = new Set(
      (yield* sql`SELECT name FROM image_gone WHERE system = ${system2} AND gone >= ${began} AND ${sql.in("name", things.map((thing) => goneOf(nameOf4(thing))))}`).map(({ name }) => name)
    );
    const added = things.filter((thing) => !there.has(nameOf4(thing)) && !gone2.has(goneOf(nameOf4(thing))));
    const changed = things.filter((thing) => (there.get(nameOf4(thing)) ?? began) < began);
    return { added, changed };
  });
  const images2 = new Map(
    (yield* all7((sql, after) => sql`SELECT id AS key, record, owner FROM images
        WHERE system = ${system2} AND id > ${after} ORDER BY id LIMIT ${ROWS2}`)).map(({ key, owner, record }) => [key, { record: record instanceof Uint8Array ? record : new Uint8Array(record), owner }])
  );
  const records2 = [];
  for (const [i, record] of [...new Map(found.records.map((each) => [each.id, each])).values()].entries()) {
    if (i % TOGETHER === 0) yield* Effect59.yieldNow();
    const bytes2 = yield* Effect59.mapError(encode2(record), (error) => new CatalogError(carried(error)));
    const known2 = images2.get(record.id);
    images2.delete(record.id);
    if (known2 === void 0 || known2.owner === NOBODY || !bytes2.equals(known2.record)) records2.push({ record, bytes: bytes2 });
  }
  yield* inParts2(
    records2,
    (part) => (sql) => Effect59.gen(function* () {
      const rows = yield* sql`SELECT id AS name, changed FROM images WHERE system = ${system2} AND ${sql.in("id", part.map(({ record }) => record.id))}`;
      const { added, changed } = yield* stale(sql, part, ({ record }) => record.id, (id) => `id:${id}`, rows);
      yield* put2(sql, clock(sql), system2, [...added, ...changed], expiresIn);
      return { added: added.length, changed: changed.length };
    })
  );
  yield* inParts2(
    [...images2.keys()],
    (part) => (sql) => Effect59.gen(function* () {
      const lost = yield* sql`SELECT id FROM images WHERE system = ${system2} AND changed < ${began} AND ${sql.in("id", part)}`;
      yield* Effect59.forEach(lost, ({ id }) => drop(sql, clock(sql), system2, id), { discard: true });
      return { removed: lost.length };
    })
  );
  const names2 = new Map(
    (yield* all7((sql, after) => sql`SELECT name AS key, id FROM image_names WHERE system = ${system2} AND name > ${after} ORDER BY name LIMIT ${ROWS2}`)).map(
      ({ id, key }) => [key, id]
    )
  );
  const pointed = [...new Map(found.names.map((each) => [each.reference, each])).values()].filter((name) => {
    const known2 = names2.get(name.reference);
    names2.delete(name.reference);
    return known2 !== name.id;
  });
  yield* inParts2(
    pointed,
    (part) => (sql) => Effect59.gen(function* () {
      const rows = yield* sql`SELECT name, changed FROM image_names WHERE system = ${system2} AND ${sql.in("name", part.map(({ reference }) => reference))}`;
      const { added, changed } = yield* stale(sql, part, ({ reference }) => reference, (name) => name, rows);
      yield* setNames(sql, clock(sql), system2, [...added, ...changed]);
      return { added: added.length, changed: changed.length };
    })
  );
  yield* inParts2(
    [...names2.keys()],
    (part) => (sql) => Effect59.gen(function* () {
      const lost = yield* sql`SELECT name FROM image_names WHERE system = ${system2} AND changed < ${began} AND ${sql.in("name", part)}`;
      yield* Effect59.forEach(lost, ({ name }) => dropName(sql, clock(sql), system2, name), { discard: true });
      return { removed: lost.length };
    })
  );
  yield* change((sql) => sql`DELETE FROM image_gone WHERE system = ${system2} AND gone < ${began - GONE_MILLIS}`);
  return counted;
});

// src/catalog/sql/ImageIndex.ts
var LAST = "\u{10FFFF}";
var PAGE_BYTES = 8 * 1024 * 1024;
var unique = (rows) => [...new Set(rows.map(({ id }) => id))];
var visible = (sql, { dialect: dialect2 }, { requester, system: system2 }, r2) => {
  if (requester === void 0) return "1 = 1";
  const who = JSON.stringify([.../* @__PURE__ */ new Set([requester.uid, ...(requester.gids ?? []).map((gid) => GROUP + gid)])]);
  const at = (column) => sql.literal(`${r2}.${column}`);
  return sql`(${at("is_public")} = 1 OR ${at("owner")} = ${requester.uid}
    OR ${at("id")} IN (SELECT a.id FROM image_access a WHERE a.system = ${system2} AND a.who IN ${dialect2.numbers(sql, who)}))`;
};
var make21 = (database) => {
  const { dialect: dialect2, read: read10, write: write4 } = database;
  const change = changing(database);
  const clock = (sql) => sql.literal(dialect2.now);
  const one = (sql, where) => Effect60.map(select(sql, dialect2, sql`i.id`, where), ([found]) => found?.image);
  const ids = (work) => Effect60.map(read10(work), (rows) => rows.map(({ id }) => id));
  const pinned = (sql) => sql`EXISTS (SELECT 1 FROM image_pins p WHERE p.system = i.system AND p.id = i.id)`;
  const fitting = (sql, system2, rows) => Effect60.gen(function* () {
    if (rows.length === 0) return rows;
    const sizes = yield* sql`SELECT i.id, length(i.record)
        + COALESCE((SELECT sum(length(m.name)) FROM image_names m WHERE m.system = i.system AND m.id = i.id), 0) AS bytes
        FROM images i WHERE i.system = ${system2} AND ${sql.in("i.id", unique(rows))}`;
    const bytes2 = new Map(sizes.map((each) => [each.id, Number(each.bytes)]));
    let left17 = PAGE_BYTES;
    const end = rows.findIndex(({ id }, i) => (left17 -= bytes2.get(id) ?? 0) < 0 && i > 0);
    return end < 0 ? rows : rows.slice(0, end);
  });
  const ofIds = (sql, system2, rows) => rows.length === 0 ? Effect60.succeed([]) : select(sql, dialect2, sql`i.id`, sql`images i WHERE i.system = ${system2} AND ${sql.in("i.id", unique(rows))}`);
  return ImageIndex.of({
    put: (system2, record) => Effect60.flatMap(
      Effect60.mapError(encode2(record), (error) => new CatalogError(carried(error))),
      (bytes2) => change((sql) => put2(sql, clock(sql), system2, [{ record, bytes: bytes2 }]))
    ),
    conceal: (system2, id) => change((sql) => conceal(sql, clock(sql), system2, id)),
    name: (system2, name) => change((sql) => setNames(sql, clock(sql), system2, [name])),
    unname: (system2, canonical) => change((sql) => dropName(sql, clock(sql), system2, canonical)),
    remove: (system2, id) => change((sql) => drop(sql, clock(sql), system2, id)),
    forget: (system2, id) => change(
      (sql) => Effect60.gen(function* () {
        const [row] = yield* sql`SELECT i.id FROM images i WHERE i.system = ${system2} AND i.id = ${id} AND i.unnamed IS NOT NULL AND NOT ${pinned(sql)}`;
        if (row === void 0) return false;
        yield* drop(sql, clock(sql), system2, id);
        return true;
      })
    ),
    get: (system2, id) => read10((sql) => one(sql, sql`images i WHERE i.system = ${system2} AND i.id = ${id}`)),
    named: (system2, canonical) => read10((sql) => one(sql, sql`image_names n JOIN images i ON i.system = n.system AND i.id = n.id WHERE n.system = ${system2} AND n.name = ${canonical}`)),
    page: (request) => read10(
      (sql) => Effect60.gen(function* () {
        const { after, owner, prefix = "", system: system2 } = request;
        const limit2 = Math.min(Math.max(Math.trunc(request.limit), 1), 1e3);
        const r2 = request.unnamed === true ? "i" : "n";
        const ofOwner = owner === void 0 ? "1 = 1" : sql`${sql.literal(`${r2}.owner`)} = ${owner}`;
        const may = visible(sql, database, request, r2);
        const rows = request.unnamed === true ? yield* sql`SELECT 'id:' || i.id AS name, i.id FROM images i WHERE ${sql.and([
          sql`i.system = ${system2} AND i.unnamed IS NOT NULL AND i.id > ${after?.replace(/^id:/, "") ?? ""}`,
          prefix === "" ? "1 = 1" : sql`'id:' || i.id >= ${prefix} AND 'id:' || i.id < ${prefix + LAST}`,
          ofOwner,
          may
        ])} ORDER BY i.id LIMIT ${limit2 + 1}` : yield* sql`SELECT n.name, n.id FROM image_names n WHERE ${sql.and([
          sql`n.system = ${system2} AND n.name > ${after ?? ""}`,
          prefix === "" ? "1 = 1" : sql`n.name >= ${prefix} AND n.name < ${prefix + LAST}`,
          ofOwner,
          may
        ])} ORDER BY n.name LIMIT ${limit2 + 1}`;
        const told8 = yield* fitting(sql, system2, rows.slice(0, limit2));
        const images2 = new Map((yield* ofIds(sql, system2, told8)).map(({ image: image2 }) => [image2.record.id, image2]));
        return {
          rows: told8.flatMap(({ id, name }) => {
            const image2 = images2.get(id);
            return image2 === void 0 ? [] : [{ name, image: image2 }];
          }),
          next: rows.length > told8.length ? told8.at(-1)?.name : void 0
        };
      })
    ),
    touch: (system2, id, expiresIn) => write4((sql) => {
      const now = clock(sql);
      const until = expiresIn === void 0 ? sql`expires` : sql`CASE WHEN expires IS NULL OR expires < ${now} + ${expiresIn} THEN ${now} + ${expiresIn} ELSE expires END`;
      return sql`UPDATE images SET used = ${now}, expires = ${until} WHERE system = ${system2} AND id = ${id}`;
    }).pipe(Effect60.asVoid),
    setExpiry: (system2, id, expires) => Effect60.asVoid(write4((sql) => sql`UPDATE images SET expires = ${expires ?? NEVER} WHERE system = ${system2} AND id = ${id}`)),
    pin: (system2, id, uid) => change(
      (sql) => Effect60.gen(function* () {
        yield* sql`INSERT INTO image_pins (system, id, uid) SELECT i.system, i.id, ${sql`CAST(${uid} AS ${sql.literal(dialect2.integer)})`} FROM images i
            WHERE i.system = ${system2} AND i.id = ${id} ON CONFLICT (system, id, uid) DO NOTHING`;
        return (yield* sql`SELECT id FROM images WHERE system = ${system2} AND id = ${id}`).length > 0;
      })
    ),
    unpin: (system2, id, uid) => Effect60.map(
      write4((sql) => sql`DELETE FROM image_pins WHERE system = ${system2} AND id = ${id} AND uid = ${uid} RETURNING id`),
      (rows) => rows.length > 0
    ),
    expired: (system2) => ids((sql) => sql`SELECT i.id FROM images i WHERE i.system = ${system2} AND i.expires <= ${clock(sql)} AND i.unnamed IS NULL AND NOT ${pinned(sql)} ORDER BY i.expires`),
    forgotten: (system2, olderThan) => ids(
      (sql) => sql`SELECT i.id FROM images i WHERE i.system = ${system2} AND i.unnamed IS NOT NULL AND i.unnamed <= ${clock(sql)} - ${olderThan}
          AND NOT ${pinned(sql)} ORDER BY i.unnamed`
    ),
    scrubbed: (system2, id, damage) => Effect60.asVoid(write4((sql) => sql`UPDATE images SET scrubbed = ${clock(sql)}, damage = ${damage ?? null} WHERE system = ${system2} AND id = ${id}`)),
    // What was published was read then.
    unread: (system2, olderThan, limit2) => ids(
      (sql) => sql`SELECT i.id FROM images i WHERE i.system = ${system2} AND COALESCE(i.scrubbed, i.published) <= ${clock(sql)} - ${olderThan}
          ORDER BY COALESCE(i.scrubbed, i.published) LIMIT ${limit2}`
    ),
    reconcile: (system2, found, expiresIn) => reconcile(database, system2, found, expiresIn),
    now: Effect60.flatMap(read10((sql) => sql`SELECT ${clock(sql)} AS now`), ([row]) => Effect60.succeed(row?.now ?? 0))
  });
};

// src/catalog/sql/PullQueue.ts
init_Errors();
import { randomBytes as randomBytes9 } from "node:crypto";
import * as Effect63 from "effect/Effect";
init_Uploads();

// src/catalog/sql/Changes.ts
import * as Effect61 from "effect/Effect";
import * as PubSub from "effect/PubSub";
import * as RcRef from "effect/RcRef";
import * as Ref6 from "effect/Ref";
import * as Schedule3 from "effect/Schedule";
import * as Stream11 from "effect/Stream";
var BEHIND = 1024;
var AGAIN = Schedule3.spaced("1 second");
var make24 = ({ told: told8 }, since) => Effect61.gen(function* () {
  const hub = yield* PubSub.sliding(BEHIND);
  const tell = (ids) => PubSub.publishAll(hub, ids).pipe(Effect61.asVoid);
  const patient = Effect61.gen(function* () {
    const newest = yield* Ref6.make((yield* Effect61.retry(since(void 0), AGAIN)).newest);
    const look = Effect61.gen(function* () {
      const found = yield* since(yield* Ref6.get(newest));
      yield* Ref6.set(newest, found.newest);
      yield* tell(found.ids);
    });
    yield* Stream11.runForEach(told8, (id) => id === void 0 ? look : tell([id])).pipe(Effect61.catchAllCause(() => Effect61.void), Effect61.repeat(AGAIN));
  });
  const listener = yield* RcRef.make({ acquire: Effect61.forkScoped(patient) });
  return {
    tell,
    stream: Stream11.unwrapScoped(
      Effect61.gen(function* () {
        const queue = yield* PubSub.subscribe(hub);
        yield* RcRef.get(listener);
        return Stream11.fromQueue(queue);
      })
    )
  };
});

// src/catalog/sql/QueueRow.ts
init_Errors();
init_ImageRecord();
init_Import();
init_Progress();
import * as Effect62 from "effect/Effect";
import * as Schema34 from "effect/Schema";
var Ids = Schema34.Array(Schema34.Int);
var Request2 = Schema34.parseJson(
  Schema34.Struct({
    platform: Schema34.optional(Schema34.String),
    gids: Ids,
    allowUids: Schema34.optional(Ids),
    allowGids: Schema34.optional(Ids),
    verify: Schema34.Boolean,
    hasCredentials: Schema34.Boolean,
    import: Schema34.optional(Schema34.Struct({ source: ImportSource, partition: Schema34.optional(Schema34.String), metadata: Schema34.optional(Schema34.partialWith(MetadataFields, { exact: true })) }))
  })
);
var count = Schema34.Finite;
var Progress = Schema34.parseJson(
  Schema34.Struct({
    phase: Schema34.Literal(...phases),
    imageId: Schema34.optional(Schema34.String),
    received: count,
    bytes: count,
    layersDone: count,
    layers: count,
    packed: count,
    isWaiting: Schema34.Boolean,
    warnings: Schema34.Array(Schema34.String)
  })
);
var Row3 = Schema34.Struct({
  seq: Schema34.Int,
  id: Schema34.String,
  key: Schema34.String,
  system: Schema34.String,
  reference: Schema34.String,
  uid: Schema34.Int,
  registry: Schema34.String,
  request: Request2,
  holder: Schema34.NullOr(Schema34.String),
  state: Schema34.Literal("waiting", "running", "done", "failed", "cancelled"),
  attempts: Schema34.Int,
  not_before: Schema34.Int,
  created: Schema34.Int,
  changed: Schema34.Int,
  image_id: Schema34.NullOr(Schema34.String),
  code: Schema34.NullOr(Schema34.String),
  what: Schema34.NullOr(Schema34.String),
  remedy: Schema34.NullOr(Schema34.String),
  progress: Schema34.NullOr(Progress),
  askers: Schema34.NullOr(Schema34.parseJson(Ids)),
  leavers: Schema34.NullOr(Schema34.parseJson(Ids))
});
var decodeRow3 = Schema34.decodeUnknown(Row3);
var encodeRequest = Schema34.encodeSync(Request2);
var encodeProgress = Schema34.encodeSync(Progress);
var requestText = (order2) => encodeRequest({
  platform: order2.platform,
  gids: order2.requester.gids ?? [],
  allowUids: order2.allowUids,
  allowGids: order2.allowGids,
  verify: order2.verify,
  hasCredentials: order2.hasCredentials,
  import: order2.import
});
var progressText = (progress) => encodeProgress({ ...progress, imageId: progress.imageId, warnings: progress.warnings.slice(-10) });
var select2 = (sql, dialect2, where) => {
  const who = (wants) => sql`(SELECT CAST(${sql.literal(dialect2.jsonArray)}(a.uid ORDER BY a.asked, a.uid) AS TEXT) FROM queue_askers a WHERE a.seq = q.seq AND a.wants = ${wants})`;
  return Effect62.flatMap(
    sql`SELECT q.seq, q.id, q.key, q.system, q.reference, q.uid, q.registry, q.request, q.holder, q.state, q.attempts, q.not_before, q.created, q.changed,
      q.image_id, q.code, q.what, q.remedy, q.progress, ${who(1)} AS askers, ${who(0)} AS leavers
      FROM queue q WHERE ${where}`,
    Effect62.forEach(
      (row) => Effect62.mapBoth(decodeRow3(row), {
        onSuccess: told3,
        onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A pull of the catalogue is not valid: ${error.message}`))
      })
    )
  );
};
var told3 = (row) => ({
  seq: row.seq,
  id: row.id,
  order: {
    system: row.system,
    reference: row.reference,
    platform: row.request.platform,
    requester: { uid: row.uid, gids: row.request.gids },
    allowUids: row.request.allowUids,
    allowGids: row.request.allowGids,
    verify: row.request.verify,
    registry: row.registry,
    key: row.key,
    // Somebody may have joined who has some.
    hasCredentials: row.request.hasCredentials || row.request.import === void 0 && row.holder !== null,
    import: row.request.import === void 0 ? void 0 : { source: row.request.import.source, partition: row.request.import.partition, metadata: row.request.import.metadata }
  },
  askers: row.askers ?? [],
  leavers: row.leavers ?? [],
  state: row.state,
  outcome: outcomeOf2(row),
  progress: row.progress === null ? void 0 : { ...row.progress, imageId: row.progress.imageId },
  attempts: row.attempts,
  created: row.created,
  changed: row.changed,
  notBefore: row.not_before
});
var outcomeOf2 = (row) => {
  switch (row.state) {
    case "done":
      return { _tag: "Done", imageId: row.image_id ?? "" };
    case "failed":
      return { _tag: "Failed", code: row.code ?? "", what: row.what ?? "", remedy: row.remedy ?? "" };
    case "cancelled":
      return { _tag: "Cancelled" };
    default:
      return void 0;
  }
};

// src/catalog/sql/PullQueue.ts
var FORGOTTEN_MILLIS = 24 * 3600 * 1e3;
var laneOf = ({ registry: registry2, requester }) => `${requester.uid} ${registry2}`;
var userOf = (lane) => Number(lane.slice(0, lane.indexOf(" ")));
var registryOf = (lane) => lane.slice(lane.indexOf(" ") + 1);
var ranked = (heads, running, limits2) => {
  const ofUser = /* @__PURE__ */ new Map();
  const ofRegistry = /* @__PURE__ */ new Map();
  for (const { lane, n } of running) {
    const [uid, registry2] = [userOf(lane), registryOf(lane)];
    ofUser.set(uid, (ofUser.get(uid) ?? 0) + n);
    ofRegistry.set(registry2, (ofRegistry.get(registry2) ?? 0) + n);
  }
  const waiting = new Set(heads.map(({ lane }) => userOf(lane)));
  return heads.flatMap(({ lane, seq }) => {
    const has = ofUser.get(userOf(lane)) ?? 0;
    const registry2 = registryOf(lane);
    const hasRoom = registry2 === "" || (ofRegistry.get(registry2) ?? 0) < limits2.perRegistry;
    return seq !== null && hasRoom && (has < limits2.perUser || waiting.size === 1 && limits2.isLast !== true) ? [{ seq, has }] : [];
  }).sort((a, b) => a.has - b.has || a.seq - b.seq).map(({ seq }) => seq);
};
var make25 = (database) => Effect63.gen(function* () {
  const { dialect: dialect2, read: read10, write: write4 } = database;
  const clock = (sql) => sql.literal(dialect2.now);
  const changes2 = yield* make24(
    database,
    (time2) => Effect63.map(
      read10(
        (sql) => time2 === void 0 ? sql`SELECT NULL AS id, ${clock(sql)} AS changed` : sql`SELECT id, changed FROM queue WHERE changed >= ${time2} ORDER BY changed`
      ),
      (rows) => ({ ids: rows.flatMap(({ id }) => id === null ? [] : [id]), newest: Math.max(time2 ?? 0, ...rows.slice(-1).map(({ changed }) => changed)) })
    )
  );
  const change = (work) => write4((sql) => Effect63.tap(work(sql), ({ ids }) => ids.length === 0 ? Effect63.void : dialect2.notify(sql, ids))).pipe(
    Effect63.tap(({ ids }) => changes2.tell(ids)),
    Effect63.map(({ result }) => result)
  );
  const one = (sql, id) => Effect63.map(select2(sql, dialect2, sql`q.id = ${id}`), ([found]) => found);
  const present2 = (sql, id) => Effect63.flatMap(one(sql, id), (found) => found === void 0 ? new CatalogError(errorFields("CATALOG_FAILED", `The pull ${id} vanished from the catalogue`)) : Effect63.succeed(found));
  const isAlive = (sql, runner) => sql`EXISTS (SELECT 1 FROM runners r WHERE r.name = ${sql.literal(runner)} AND r.alive_until > ${clock(sql)})`;
  const lives = (sql, runner, millis4 = queueLeaseMillis) => sql`INSERT INTO runners (name, alive_until) VALUES (${runner}, ${clock(sql)} + ${millis4}) ON CONFLICT (name) DO UPDATE SET alive_until = excluded.alive_until`;
  const asks = (sql, seq, uid) => sql`INSERT INTO queue_askers (seq, uid, asked, wants) VALUES (${seq}, ${uid}, ${clock(sql)}, 1) ON CONFLICT (seq, uid) DO UPDATE SET wants = 1`;
  const waitingOf = (sql, uid) => Effect63.map(
    sql`SELECT count(*) AS n FROM queue WHERE state = 'waiting' AND lane >= ${`${uid} `} AND lane < ${`${uid}!`}`,
    ([waiting]) => Number(waiting?.n ?? 0)
  );
  const moved2 = (sql, { lane, seq }, to) => Effect63.gen(function* () {
    if (userOf(lane) === userOf(to) || (yield* waitingOf(sql, userOf(to))) >= (yield* waitingOf(sql, userOf(lane))) - 1) return;
    yield* sql`UPDATE queue SET lane = ${to} WHERE seq = ${seq} AND state = 'waiting'`;
  });
  return PullQueue.of({
    submit: (order2, waitingPerUser, holder) => {
      const id = randomBytes9(16).toString("hex");
      return change(
        (sql) => Effect63.gen(function* () {
          const now = clock(sql);
          if (holder !== void 0) yield* lives(sql, holder, order2.import === void 0 ? queueLeaseMillis : placeLeaseMillis);
          const [open26] = yield* sql`SELECT seq, id, state, lane FROM queue
              WHERE key = ${order2.key} AND state IN ('waiting', 'running') ${sql.literal(dialect2.forUpdate)}`;
          if (open26 !== void 0) {
            yield* asks(sql, open26.seq, order2.requester.uid);
            if (open26.state === "waiting") yield* moved2(sql, open26, laneOf(order2));
            if (holder !== void 0) {
              yield* sql`UPDATE queue SET holder = ${holder} WHERE seq = ${open26.seq}
                  AND (holder IS NOT NULL OR state = 'waiting') AND (holder IS NULL OR NOT ${isAlive(sql, "queue.holder")})`;
            }
            return { result: { pull: yield* present2(sql, open26.id), isNew: open26.id === id }, ids: [] };
          }
          if ((yield* waitingOf(sql, order2.requester.uid)) >= waitingPerUser) {
            return yield* new CatalogError(errorFields("QUEUE_FULL", `${waitingPerUser} pulls of uid ${order2.requester.uid} wait already`));
          }
          const [row] = yield* sql`INSERT INTO queue (id, key, system, reference, uid, registry, lane, request, holder, state, attempts, not_before, created, changed)
              VALUES (${id}, ${order2.key}, ${order2.system}, ${order2.reference}, ${order2.requester.uid}, ${order2.registry}, ${laneOf(order2)}, ${requestText(order2)},
                ${holder ?? null}, 'waiting', 0, ${now}, ${now}, ${now}) RETURNING seq`;
          if (row !== void 0) yield* asks(sql, row.seq, order2.requester.uid);
          return { result: { pull: yield* present2(sql, id), isNew: true }, ids: [id] };
        })
      );
    },
    take: (runner, limits2, place3 = runner) => Effect63.gen(function* () {
      const [any] = yield* read10((sql) => sql`SELECT 1 AS found FROM queue WHERE state = 'waiting' LIMIT 1`);
      if (any === void 0) return void 0;
      const lease = randomBytes9(16).toString("hex");
      return yield* change(
        (sql) => Effect63.gen(function* () {
          const now = clock(sql);
          yield* dialect2.exclusive(sql, "take");
          const heads = yield* sql`WITH RECURSIVE lanes (lane) AS (
                  SELECT min(lane) FROM queue WHERE state = 'waiting'
                  UNION ALL
                  SELECT (SELECT min(q.lane) FROM queue q WHERE q.state = 'waiting' AND q.lane > l.lane) FROM lanes l WHERE l.lane IS NOT NULL
                )
                SELECT l.lane, (SELECT q.seq FROM queue q WHERE q.state = 'waiting' AND q.lane = l.lane AND q.not_before <= ${now}
                  AND (q.holder IS NULL OR q.holder IN (${runner}, ${place3}) OR NOT ${isAlive(sql, "q.holder")}) ORDER BY q.seq LIMIT 1) AS seq
                FROM lanes l WHERE l.lane IS NOT NULL`;
          const running = yield* sql`SELECT lane, count(*) AS n FROM queue WHERE state = 'running' GROUP BY lane`;
          for (const seq of ranked(heads, running, limits2)) {
            const [taken] = yield* sql`UPDATE queue SET state = 'running', attempts = attempts + 1, lease = ${lease},
                  lease_until = ${now} + ${queueLeaseMillis}, changed = ${now}
                  WHERE seq IN (SELECT seq FROM queue WHERE seq = ${seq} AND state = 'waiting' ${sql.literal(dialect2.skipLocked)}) RETURNING id`;
            if (taken !== void 0) return { result: { pull: yield* present2(sql, taken.id), lease }, ids: [taken.id] };
          }
          return { result: void 0, ids: [] };
        })
      );
    }),
    renew: ({ lease, pull: pull2 }, progress) => change(
      (sql) => Effect63.gen(function* () {
        const now = clock(sql);
        const held = progress === void 0 ? yield* sql`UPDATE queue SET lease_until = ${now} + ${queueLeaseMillis} WHERE id = ${pull2.id} AND lease = ${lease} AND state = 'running' RETURNING id` : yield* sql`UPDATE queue SET lease_until = ${now} + ${queueLeaseMillis}, changed = ${now}, progress = ${progressText(progress)}
                    WHERE id = ${pull2.id} AND lease = ${lease} AND state = 'running' RETURNING id`;
        if (held.length > 0) return { result: "Held", ids: progress === void 0 ? [] : [pull2.id] };
        const [ended4] = yield* sql`SELECT id FROM queue WHERE id = ${pull2.id} AND lease = ${lease} AND state = 'cancelled'`;
        return { result: ended4 === void 0 ? "Lost" : "Cancelled", ids: [] };
      })
    ),
    finish: ({ lease, pull: pull2 }, outcome2) => change(
      (sql) => Effect63.gen(function* () {
        const failed6 = outcome2._tag === "Failed" ? outcome2 : void 0;
        const ended4 = yield* sql`UPDATE queue SET state = ${outcome2._tag.toLowerCase()}, image_id = ${outcome2._tag === "Done" ? outcome2.imageId : null},
              code = ${failed6?.code ?? null}, what = ${failed6 === void 0 ? null : printable(failed6.what)}, remedy = ${failed6 === void 0 ? null : printable(failed6.remedy)},
              lease_until = NULL, changed = ${clock(sql)} WHERE id = ${pull2.id} AND lease = ${lease} AND state = 'running' RETURNING id`;
        if (ended4.length > 0) return { result: true, ids: [pull2.id] };
        return { result: (yield* sql`SELECT id FROM queue WHERE id = ${pull2.id} AND lease = ${lease}`).length > 0, ids: [] };
      })
    ),
    putBack: ({ lease, pull: pull2 }, delay3, countsAsAttempt, progress) => change(
      (sql) => Effect63.map(
        sql`UPDATE queue SET state = 'waiting', lease = NULL, lease_until = NULL, progress = ${progress === void 0 ? null : progressText(progress)},
              not_before = ${clock(sql)} + ${Math.round(delay3)},
              attempts = attempts - ${countsAsAttempt ? 0 : 1}, changed = ${clock(sql)} WHERE id = ${pull2.id} AND lease = ${lease} AND state = 'running' RETURNING id`,
        (rows) => ({ result: void 0, ids: rows.map(({ id }) => id) })
      )
    ),
    alive: (runner, place3) => Effect63.asVoid(write4((sql) => Effect63.zipRight(lives(sql, runner), place3 === void 0 ? Effect63.void : lives(sql, place3, placeLeaseMillis)))),
    recover: (attempts2) => change(
      (sql) => Effect63.gen(function* () {
        const now = clock(sql);
        yield* sql`DELETE FROM runners WHERE alive_until < ${now} - ${FORGOTTEN_MILLIS}`;
        const failed6 = (code, what, remedy = errorTable[code].remedy) => sql`state = 'failed', lease = NULL, lease_until = NULL, changed = ${now}, code = ${code}, what = ${what}, remedy = ${remedy}`;
        const isPlace = sql`holder LIKE ${`${PLACE}%`}`;
        const withoutHolder = sql`holder IS NOT NULL AND NOT ${isAlive(sql, "queue.holder")}`;
        const gone2 = failed6("CREDENTIALS_GONE", "The gateway process that had the credentials of this pull ended");
        const away = failed6(
          "UPLOAD_NOT_FOUND",
          "The upload that was to be imported lies on a machine of the gateway that does not answer",
          "Upload it again, or import it again when that machine is back."
        );
        const worn = failed6(
          "LEASE_LOST",
          `The gateway process that ran this pull ended in the middle of it, the last of ${attempts2} times`,
          "Pull again; if that ends so too, ask your administrator for the log of the gateway."
        );
        const expired = sql`state = 'running' AND lease_until <= ${now}`;
        const ended4 = [
          sql`UPDATE queue SET ${away} WHERE state = 'waiting' AND ${isPlace} AND ${withoutHolder} RETURNING id`,
          sql`UPDATE queue SET ${away} WHERE ${expired} AND ${isPlace} AND ${withoutHolder} RETURNING id`,
          sql`UPDATE queue SET ${gone2} WHERE state = 'waiting' AND ${withoutHolder} RETURNING id`,
          sql`UPDATE queue SET ${gone2} WHERE ${expired} AND ${withoutHolder} RETURNING id`,
          sql`UPDATE queue SET ${worn} WHERE ${expired} AND attempts >= ${attempts2} RETURNING id`,
          sql`UPDATE queue SET state = 'waiting', lease = NULL, lease_until = NULL, progress = NULL, not_before = ${now}, changed = ${now}
                WHERE ${expired} RETURNING id`
        ];
        const ids = (yield* Effect63.all(ended4)).flat().map(({ id }) => id);
        return { result: ids, ids };
      })
    ),
    cancel: (id, uid, byForce) => change(
      (sql) => Effect63.gen(function* () {
        const [open26] = yield* sql`SELECT seq FROM queue WHERE id = ${id} AND state IN ('waiting', 'running') ${sql.literal(dialect2.forUpdate)}`;
        if (open26 !== void 0) {
          if (!byForce) yield* sql`UPDATE queue_askers SET wants = 0 WHERE seq = ${open26.seq} AND uid = ${uid}`;
          const isUnwanted = byForce ? "1 = 1" : sql`NOT EXISTS (SELECT 1 FROM queue_askers a WHERE a.seq = queue.seq AND a.wants = 1)`;
          const ended4 = yield* sql`UPDATE queue SET state = 'cancelled', lease_until = NULL, changed = ${clock(sql)}
                WHERE ${sql.and([sql`seq = ${open26.seq}`, isUnwanted])} RETURNING id`;
          return { result: yield* one(sql, id), ids: ended4.length > 0 ? [id] : [] };
        }
        return { result: yield* one(sql, id), ids: [] };
      })
    ),
    get: (id) => read10((sql) => one(sql, id)),
    list: (filter10) => read10((sql) => listed(sql, database, filter10)),
    counts: read10(
      (sql) => sql`SELECT system, state, count(*) AS count FROM queue WHERE state IN ('waiting', 'running')
            GROUP BY state, system ORDER BY state, system`
    ),
    prune: (olderThan) => write4(
      (sql) => Effect63.gen(function* () {
        const pruned = sql`FROM queue WHERE changed < ${clock(sql)} - ${olderThan} AND state NOT IN ('waiting', 'running')`;
        yield* sql`DELETE FROM queue_askers WHERE seq IN (SELECT seq ${pruned})`;
        return (yield* sql`DELETE ${pruned} RETURNING id`).length;
      })
    ),
    changes: changes2.stream
  });
});
var listed = (sql, { dialect: dialect2 }, filter10) => {
  const states = filter10.states ?? [];
  const isOpen = states.length > 0 && states.every((state) => state === "waiting" || state === "running");
  return select2(
    sql,
    dialect2,
    sql`${sql.and([
      filter10.system === void 0 ? "1 = 1" : sql`q.system = ${filter10.system}`,
      // Said in the words of an index, so that it is used.
      isOpen ? "q.state IN ('waiting', 'running')" : "1 = 1",
      filter10.states === void 0 ? "1 = 1" : states.length === 0 ? "1 = 0" : sql.in("q.state", states),
      filter10.reference === void 0 ? "1 = 1" : sql`q.reference = ${filter10.reference}`,
      filter10.asker === void 0 ? "1 = 1" : sql`q.seq IN (SELECT a.seq FROM queue_askers a WHERE a.uid = ${filter10.asker})`
    ])} ORDER BY q.seq DESC LIMIT ${filter10.limit}`
  );
};

// src/catalog/sql/Tokens.ts
init_Errors();
init_Tokens();
import { createHash as createHash14, randomBytes as randomBytes10 } from "node:crypto";
import * as Effect64 from "effect/Effect";
import * as Redacted7 from "effect/Redacted";
import * as Schema35 from "effect/Schema";
var MOST2 = 100;
var USED_MILLIS = 60 * 1e3;
var secretPattern = /^shf_[A-Za-z0-9_-]{43}$/;
var Row4 = Schema35.Struct({
  id: Schema35.String,
  label: Schema35.String,
  uid: Schema35.Int,
  scopes: Schema35.parseJson(Schema35.Array(TokenScope)),
  systems: Schema35.parseJson(Schema35.Array(Schema35.String)),
  created: Schema35.Int,
  expires: Schema35.Int,
  used: Schema35.NullOr(Schema35.Int)
});
var decodeRow4 = Schema35.decodeUnknown(Row4);
var hashOf2 = (secret) => createHash14("sha256").update(secret).digest("hex");
var select3 = (sql, where) => Effect64.flatMap(
  sql`SELECT id, label, uid, scopes, systems, created, expires, used FROM tokens WHERE ${where}`,
  Effect64.forEach(
    (row) => Effect64.mapBoth(decodeRow4(row), {
      onSuccess: (token) => ({ ...token, used: token.used ?? void 0 }),
      onFailure: (error) => new CatalogError(errorFields("CATALOG_FAILED", `A token of the catalogue is not valid: ${error.message}`))
    })
  )
);
var make27 = ({ dialect: dialect2, read: read10, write: write4 }) => {
  const clock = (sql) => sql.literal(dialect2.now);
  return Tokens.of({
    create: ({ expiresIn, label, scopes, systems, uid }) => {
      const id = randomBytes10(8).toString("hex");
      const secret = Redacted7.make(`shf_${randomBytes10(32).toString("base64url")}`);
      return write4(
        (sql) => Effect64.gen(function* () {
          yield* dialect2.exclusive(sql, "tokens");
          yield* sql`DELETE FROM tokens WHERE expires <= ${clock(sql)}`;
          const [has] = yield* sql`SELECT count(*) AS n FROM tokens WHERE uid = ${uid} AND id <> ${id}`;
          if ((has?.n ?? 0) >= MOST2) {
            return yield* new CatalogError(errorFields("LIMIT_EXCEEDED", `uid ${uid} has ${MOST2} tokens, and nobody may have more`, { remedy: "Revoke those that are not used any more." }));
          }
          yield* sql`INSERT INTO tokens (id, hash, label, uid, scopes, systems, created, expires)
            VALUES (${id}, ${hashOf2(Redacted7.value(secret))}, ${label}, ${uid}, ${JSON.stringify(scopes)}, ${JSON.stringify(systems)}, ${clock(sql)}, ${clock(sql)} + ${Math.round(expiresIn)})
            ON CONFLICT (id) DO NOTHING`;
          const [token] = yield* select3(sql, sql`id = ${id}`);
          return token === void 0 ? yield* new CatalogError(errorFields("CATALOG_FAILED", "The catalogue made no token")) : { token, secret };
        })
      );
    },
    verify: (secret) => Effect64.gen(function* () {
      if (!secretPattern.test(Redacted7.value(secret))) return void 0;
      const hash2 = hashOf2(Redacted7.value(secret));
      const [token] = yield* read10((sql) => select3(sql, sql`hash = ${hash2} AND expires > ${clock(sql)}`));
      if (token === void 0) return void 0;
      const [stale] = yield* read10((sql) => sql`SELECT id FROM tokens WHERE id = ${token.id} AND (used IS NULL OR used < ${clock(sql)} - ${USED_MILLIS})`);
      if (stale !== void 0) yield* write4((sql) => sql`UPDATE tokens SET used = ${clock(sql)} WHERE id = ${token.id}`);
      return token;
    }),
    list: (uid) => read10((sql) => select3(sql, sql`${uid === void 0 ? sql.literal("1 = 1") : sql`uid = ${uid}`} AND expires > ${clock(sql)} ORDER BY created, id`)),
    revoke: (id, uid) => Effect64.map(
      write4((sql) => sql`DELETE FROM tokens WHERE id = ${id} AND ${uid === void 0 ? sql.literal("1 = 1") : sql`uid = ${uid}`} RETURNING id`),
      (rows) => rows.length > 0
    )
  });
};

// src/catalog/sql/Errors.ts
init_Errors();
import * as Effect65 from "effect/Effect";
import * as Option6 from "effect/Option";
var isSqlError = (error) => typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError";
var transaction = (sql, effect7) => Effect65.catchSomeDefect(sql.withTransaction(effect7), (defect) => isSqlError(defect) ? Option6.some(Effect65.fail(defect)) : Option6.none());
var said = (error) => {
  const causes3 = [error, causeOf(error)].map((each) => each === void 0 ? "" : messageOf(each));
  return printable(causes3.filter(Boolean).join(": "));
};
var causeOf = (error) => typeof error === "object" && error !== null && "cause" in error ? error.cause : void 0;

// src/catalog/sql/Schema.ts
init_Errors();
import * as Effect66 from "effect/Effect";
var version1 = ({ identity, integer, text: text5 }) => [
  `CREATE TABLE pulls (
    id ${identity},
    token ${text5} NOT NULL,
    system ${text5} NOT NULL,
    reference ${text5} NOT NULL,
    requester ${integer} NOT NULL,
    image_id ${text5},
    state ${text5} NOT NULL,
    phase ${text5} NOT NULL,
    lease_until ${integer} NOT NULL,
    code ${text5},
    what ${text5},
    changed ${integer} NOT NULL
  )`,
  // Single flight: one conversion of an image for a system.
  "CREATE UNIQUE INDEX pulls_conversion ON pulls (system, image_id) WHERE state = 'active' AND image_id IS NOT NULL",
  `CREATE TABLE blob_uses (pull ${integer} NOT NULL, blob ${text5} NOT NULL, PRIMARY KEY (blob, pull))`
];
var version2 = ({ bytes: bytes2, identity, integer, text: text5 }) => [
  `CREATE TABLE queue (
    seq ${identity},
    id ${text5} NOT NULL UNIQUE,
    key ${text5} NOT NULL,
    system ${text5} NOT NULL,
    reference ${text5} NOT NULL,
    uid ${integer} NOT NULL,
    registry ${text5} NOT NULL,
    lane ${text5} NOT NULL,
    request ${text5} NOT NULL,
    holder ${text5},
    state ${text5} NOT NULL,
    attempts ${integer} NOT NULL,
    not_before ${integer} NOT NULL,
    created ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    lease ${text5},
    lease_until ${integer},
    image_id ${text5},
    code ${text5},
    what ${text5},
    remedy ${text5},
    progress ${text5}
  )`,
  // Orders of one key are one pull.
  "CREATE UNIQUE INDEX queue_key ON queue (key) WHERE state IN ('waiting', 'running')",
  // A lane is a user and a registry: its oldest pull, and the next lane, are each one step away.
  "CREATE INDEX queue_lane ON queue (lane, seq, not_before, holder) WHERE state = 'waiting'",
  "CREATE INDEX queue_holder ON queue (holder) WHERE state = 'waiting' AND holder IS NOT NULL",
  "CREATE INDEX queue_running ON queue (lease_until, uid, registry) WHERE state = 'running'",
  "CREATE INDEX queue_open ON queue (state, system, seq) WHERE state IN ('waiting', 'running')",
  "CREATE INDEX queue_reference ON queue (system, reference, seq)",
  "CREATE INDEX queue_changed ON queue (changed)",
  `CREATE TABLE queue_askers (seq ${integer} NOT NULL, uid ${integer} NOT NULL, asked ${integer} NOT NULL, wants ${integer} NOT NULL, PRIMARY KEY (seq, uid))`,
  "CREATE INDEX queue_askers_uid ON queue_askers (uid, seq)",
  `CREATE TABLE runners (name ${text5} PRIMARY KEY, alive_until ${integer} NOT NULL)`,
  `CREATE TABLE images (
    system ${text5} NOT NULL,
    id ${text5} NOT NULL,
    record ${bytes2} NOT NULL,
    is_public ${integer} NOT NULL,
    owner ${integer} NOT NULL,
    published ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    used ${integer} NOT NULL,
    expires ${integer},
    unnamed ${integer},
    scrubbed ${integer},
    damage ${text5},
    PRIMARY KEY (system, id)
  )`,
  "CREATE INDEX images_unnamed ON images (system, id) WHERE unnamed IS NOT NULL",
  "CREATE INDEX images_expires ON images (system, expires) WHERE expires IS NOT NULL",
  // Whether an image is public and whose it is stand beside its names too, so that a page finds in one index what it may tell.
  `CREATE TABLE image_names (
    system ${text5} NOT NULL,
    name ${text5} NOT NULL,
    id ${text5} NOT NULL,
    is_public ${integer} NOT NULL,
    owner ${integer} NOT NULL,
    changed ${integer} NOT NULL,
    PRIMARY KEY (system, name)
  )`,
  "CREATE INDEX image_names_id ON image_names (system, id)",
  // The access lists. A group's number has 2³² added, so that users and groups are one list.
  `CREATE TABLE image_access (system ${text5} NOT NULL, id ${text5} NOT NULL, who ${integer} NOT NULL, PRIMARY KEY (system, who, id))`,
  "CREATE INDEX image_access_id ON image_access (system, id)",
  `CREATE TABLE image_pins (system ${text5} NOT NULL, id ${text5} NOT NULL, uid ${integer} NOT NULL, PRIMARY KEY (system, id, uid))`,
  // What was removed lately: a listing of the image path that began before may still show it.
  `CREATE TABLE image_gone (system ${text5} NOT NULL, name ${text5} NOT NULL, gone ${integer} NOT NULL, PRIMARY KEY (system, name))`,
  `CREATE TABLE tokens (
    id ${text5} PRIMARY KEY,
    hash ${text5} NOT NULL UNIQUE,
    label ${text5} NOT NULL,
    uid ${integer} NOT NULL,
    scopes ${text5} NOT NULL,
    systems ${text5} NOT NULL,
    created ${integer} NOT NULL,
    expires ${integer} NOT NULL,
    used ${integer}
  )`,
  "CREATE INDEX tokens_uid ON tokens (uid)",
  `CREATE TABLE audit (
    id ${identity},
    entry ${text5} NOT NULL UNIQUE,
    time ${integer} NOT NULL,
    action ${text5} NOT NULL,
    uid ${integer},
    shown_by ${text5} NOT NULL,
    system ${text5},
    reference ${text5},
    image_id ${text5},
    digest ${text5},
    why ${text5} NOT NULL
  )`,
  "CREATE INDEX audit_time ON audit (time)",
  "CREATE INDEX audit_uid ON audit (uid, id)",
  "CREATE INDEX audit_system ON audit (system, id)",
  "CREATE INDEX audit_action ON audit (action, id)"
];
var versions = [version1, version2];
var migrate = (sql, dialect2) => Effect66.gen(function* () {
  yield* dialect2.exclusive(sql, "schema");
  yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS catalog_version (version ${dialect2.integer} NOT NULL)`);
  const [found] = yield* sql`SELECT version FROM catalog_version`;
  const version3 = found?.version ?? 0;
  if (version3 > versions.length) {
    return yield* new CatalogError(
      errorFields("CATALOG_FAILED", `The catalogue has version ${version3}; up to ${versions.length} is understood`, { remedy: "Update this program." })
    );
  }
  for (const statements of versions.slice(version3)) {
    for (const statement of statements(dialect2)) yield* sql.unsafe(statement);
  }
  if (found === void 0) yield* sql`INSERT INTO catalog_version (version) VALUES (${versions.length})`;
  else if (version3 < versions.length) yield* sql`UPDATE catalog_version SET version = ${versions.length}`;
});

// src/catalog/sql/index.ts
var layer5 = (database) => Layer8.scopedContext(
  Effect67.map(
    make25(database),
    (queue) => Context15.make(Catalog, make20(database)).pipe(
      Context15.add(ImageIndex, make21(database)),
      Context15.add(PullQueue, queue),
      Context15.add(Tokens, make27(database)),
      Context15.add(Audit, make19(database))
    )
  )
);

// src/catalog/postgres/values.ts
var asNumber = (text5) => Number(text5);
var asBoolean = (text5) => text5 === "t";
var asBytes = (text5) => Buffer.from(text5.slice(2), "hex");
var asText = (text5) => text5;
var BOOL = 16;
var BYTEA = 17;
var INT8 = 20;
var INT2 = 21;
var INT4 = 23;
var parserOf = (type) => {
  switch (type) {
    case INT2:
    case INT4:
    case INT8:
      return asNumber;
    case BOOL:
      return asBoolean;
    case BYTEA:
      return asBytes;
    default:
      return asText;
  }
};

// src/catalog/postgres/index.ts
var STATEMENT_MILLIS = 2e4;
var SILENT_MILLIS = 25e3;
var IDLE_MILLIS = 15e3;
var CHANNEL = "shifter_pulls";
var PING = "5 seconds";
var ECHO = "500 millis";
var PINGS = 10;
var layer7 = (settings4) => Layer9.unwrapScoped(
  Effect68.gen(function* () {
    const scope5 = yield* Effect68.scope;
    const me2 = randomBytes11(8).toString("hex");
    const dialect2 = dialectOf(me2);
    const worded3 = (effect7) => Effect68.catchTag(effect7, "SqlError", (error) => failed3(error, settings4));
    const patiently3 = (effect7) => worded3(Effect68.retry(effect7, { while: (error) => error._tag === "SqlError" && isPassing2(error), schedule: patience }));
    const [opening, forget] = yield* Effect68.cachedInvalidateWithTTL(Effect68.uninterruptible(Scope2.extend(opened4(settings4, dialect2), scope5)), Duration5.infinity);
    const client = Effect68.tapError(opening, () => forget);
    return layer5({
      dialect: dialect2,
      read: (work) => patiently3(Effect68.flatMap(client, work)),
      write: (work) => patiently3(Effect68.flatMap(client, (sql) => transaction(sql, work(sql)))),
      told: told4(client, me2)
    });
  })
);
var dialectOf = (me2) => ({
  // Of the statement's begin, unlike clock_timestamp(): the same for all of its rows, so that an index can be searched by it.
  now: "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
  identity: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
  integer: "BIGINT",
  text: 'TEXT COLLATE "C"',
  bytes: "BYTEA",
  jsonArray: "json_agg",
  forUpdate: "FOR UPDATE",
  skipLocked: "FOR UPDATE SKIP LOCKED",
  exclusive: (sql, what) => Effect68.asVoid(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`shifter ${what}`}, 0))`),
  notify: (sql, ids) => Effect68.forEach(ids, (id) => sql`SELECT pg_notify(${CHANNEL}, ${`${me2}:${id}`})`, { discard: true }),
  numbers: (sql, json) => sql`(SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(${json} AS json)))`
});
var place2 = ({ database, host: host2, port }) => `database ${database} of ${host2.startsWith("/") ? `${host2}/.s.PGSQL.${port}` : `${host2}:${port}`}`;
var REMEDY = 'Check the PostgreSQL server, and "postgres" in the configuration.';
var failed3 = (error, settings4) => Effect68.fail(new CatalogError(errorFields("CATALOG_FAILED", `The catalogue in the ${place2(settings4)} can't be used: ${said(error)}`, { cause: error, remedy: REMEDY })));
var passingStates = /^(40001|40P01|55P03|23505|57P0[1-5]|57014|08...|53300|25P03)$/;
var passingCodes = /* @__PURE__ */ new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOENT", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"]);
var passingWords = /connection terminated|connection error|timeout exceeded when trying to connect|query read timeout|connection timed out|not queryable|closed the connection/i;
var isPassing2 = (error) => {
  const cause = causeOf(error);
  const code = typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : "";
  return passingStates.test(code) || passingCodes.has(code) || passingWords.test(said(error));
};
var patience = Schedule4.exponential("20 millis").pipe(
  Schedule4.union(Schedule4.spaced("500 millis")),
  Schedule4.jittered,
  Schedule4.upTo("30 seconds")
);
var opened4 = (settings4, dialect2) => Effect68.gen(function* () {
  const config = yield* clientConfig(settings4);
  const driver = yield* Effect68.promise(() => import("@effect/sql-pg/PgClient"));
  const client = yield* driver.make(config);
  yield* transaction(client, migrate(client, dialect2));
  return client;
}).pipe(Effect68.provide(Reactivity.layer));
var clientConfig = (settings4) => Effect68.gen(function* () {
  const { ca, connections, database, host: host2, passwordFile, port, username } = settings4;
  const file = (name, what) => Effect68.tryPromise({
    try: () => readFile5(name, "utf8"),
    catch: (error) => new CatalogError(errorFields("CONFIG_INVALID", `The ${what} of the ${place2(settings4)}, ${name}, can't be read: ${messageOf(error)}`, { cause: error }))
  });
  const password = passwordFile === void 0 ? void 0 : (yield* file(passwordFile, "password file")).split(/\r?\n/, 1)[0];
  const authority2 = ca === void 0 || host2.startsWith("/") ? void 0 : yield* file(ca, "certificate file");
  const word2 = encodeURIComponent;
  const user = password === void 0 ? word2(username) : `${word2(username)}:${word2(password)}`;
  const options2 = new URLSearchParams({
    host: host2,
    port: String(port),
    statement_timeout: String(STATEMENT_MILLIS),
    query_timeout: String(SILENT_MILLIS),
    idle_in_transaction_session_timeout: String(IDLE_MILLIS)
  });
  const ssl = (
    // The driver knows the name of a server only where it is no number.
    authority2 === void 0 ? void 0 : { ca: authority2, checkServerIdentity: (_, certificate) => checkServerIdentity(host2, certificate) }
  );
  return {
    url: Redacted8.make(`postgresql://${user}@_/${word2(database)}?${options2.toString()}`),
    ssl: ssl ?? false,
    maxConnections: connections,
    connectTimeout: "5 seconds",
    // A connection that nobody answers any more is not kept for ever.
    connectionTTL: "10 minutes",
    applicationName: "shifter-gateway",
    types: { getTypeParser: parserOf }
  };
});
var told4 = (client, me2) => Stream12.unwrap(
  Effect68.gen(function* () {
    const sql = yield* client;
    const echo = yield* Ref7.make(yield* Deferred3.make());
    const ping = Effect68.gen(function* () {
      const heard2 = yield* Deferred3.make();
      yield* Ref7.set(echo, heard2);
      yield* sql`SELECT pg_notify(${CHANNEL}, ${`${me2}:`})`;
      return yield* Effect68.timeoutOption(Deferred3.await(heard2), ECHO);
    });
    const silent = new CatalogError(errorFields("CATALOG_FAILED", "PostgreSQL tells nothing any more", { remedy: REMEDY }));
    const alive = Effect68.repeat(ping, { times: PINGS, until: Option7.isSome }).pipe(
      Effect68.filterOrFail(Option7.isSome, () => silent),
      Effect68.zipRight(Effect68.sleep(PING)),
      Effect68.forever
    );
    const heard = Stream12.filterMapEffect(sql.listen(CHANNEL), (payload) => {
      const [sender, id = ""] = payload.split(":", 2);
      if (id !== "") return sender === me2 ? Option7.none() : Option7.some(Effect68.succeed(id));
      return sender === me2 ? Option7.some(Effect68.as(Effect68.flatMap(Ref7.get(echo), (wait) => Deferred3.succeed(wait, void 0)), void 0)) : Option7.none();
    });
    return Stream12.merge(heard, Stream12.fromEffect(alive), { haltStrategy: "either" });
  })
);

// src/catalog/sqlite/index.ts
init_Disk();
init_Errors();
init_Process();
import { stat as stat6, statfs as statfs2 } from "node:fs/promises";
import * as nodePath24 from "node:path";
import * as Reactivity2 from "@effect/experimental/Reactivity";
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient";
import { createClient } from "@libsql/client/sqlite3";
import * as Duration6 from "effect/Duration";
import * as Effect69 from "effect/Effect";
import * as Either23 from "effect/Either";
import * as Layer10 from "effect/Layer";
import * as Option8 from "effect/Option";
import * as Schedule5 from "effect/Schedule";
import * as Scope3 from "effect/Scope";
import * as Stream13 from "effect/Stream";
var LOOK = "200 millis";
var refusedFileSystems = {
  26985: "NFS",
  1702057286: "FUSE",
  198183888: "Lustre",
  1196443219: "GPFS",
  428016422: "BeeGFS",
  12805120: "Ceph",
  20859: "SMB",
  4283649346: "CIFS",
  4266872130: "SMB2",
  1397113167: "AFS",
  16914839: "9p"
};
var layer9 = (options2) => Layer10.unwrapScoped(
  Effect69.gen(function* () {
    const scope5 = yield* Effect69.scope;
    const [opening, forget] = yield* Effect69.cachedInvalidateWithTTL(Effect69.uninterruptible(Scope3.extend(opened5(options2), scope5)), Duration6.infinity);
    const clients = Effect69.tapError(opening, () => forget);
    const worded3 = (effect7) => Effect69.catchTag(effect7, "SqlError", (error) => failed4(error, options2.stateDirectory));
    const read10 = (work) => Effect69.flatMap(clients, ({ reader }) => worded3(Effect69.retry(work(reader), { while: (error) => isBusy(error) || isBusy(error.cause), schedule: patience2 })));
    return layer5({
      dialect,
      read: read10,
      write: (work) => Effect69.flatMap(clients, ({ writer }) => worded3(transaction(writer, work(writer)))),
      told: told5(read10)
    });
  })
);
var dialect = {
  now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
  identity: "INTEGER PRIMARY KEY AUTOINCREMENT",
  integer: "INTEGER",
  text: "TEXT",
  bytes: "BLOB",
  jsonArray: "json_group_array",
  // Who writes is alone.
  forUpdate: "",
  skipLocked: "",
  exclusive: () => Effect69.void,
  // They look, see below.
  notify: () => Effect69.void,
  numbers: (sql, json) => sql`(SELECT value FROM json_each(${json}))`
};
var told5 = (read10) => Stream13.repeatEffectWithSchedule(
  read10((sql) => Effect69.map(sql`PRAGMA data_version`, ([row]) => row?.data_version)),
  Schedule5.spaced(LOOK)
).pipe(
  Stream13.changes,
  Stream13.drop(1),
  Stream13.map(() => void 0)
);
var opened5 = (options2) => Effect69.gen(function* () {
  const file = yield* prepare(options2);
  const { stateDirectory } = options2;
  return yield* Effect69.gen(function* () {
    const client = Effect69.flatMap(open20(file), (liveClient) => LibsqlClient.make({ liveClient }));
    const writer = yield* client;
    yield* transaction(writer, migrate(writer, dialect));
    return { writer, reader: yield* client };
  }).pipe(
    Effect69.provide(Reactivity2.layer),
    Effect69.catchTag("SqlError", (error) => failed4(error, stateDirectory)),
    Effect69.catchSomeDefect((defect) => Option8.some(unusable3("The catalogue can't be opened", defect)))
  );
});
var unusable3 = (what, cause, remedy) => new CatalogError(errorFields("STATE_UNUSABLE", what, { cause, ...remedy === void 0 ? {} : { remedy } }));
var failed4 = (error, directory3) => Effect69.flatMap(isFull(directory3), (full) => {
  const what = said(error);
  return full && /SQLITE_(FULL|IOERR|CANTOPEN)|disk is full|disk I\/O|unable to open/i.test(what) ? Effect69.fail(new CatalogError(errorFields("STORAGE_FULL", `The catalogue in ${directory3} can't be written: ${what}`, { cause: error }))) : Effect69.fail(new CatalogError(errorFields("CATALOG_FAILED", `The catalogue in ${directory3} can't be used: ${what}`, { cause: error })));
});
var open20 = (file) => Effect69.acquireRelease(
  Effect69.sync(() => {
    const url = `file:${file}`;
    const kept = { client: void 0 };
    const client = Object.assign(createClient({ url }), { transaction: () => patiently2(() => begin(url, kept)).catch(notBegun) });
    return { client, kept };
  }),
  ({ client, kept }) => Effect69.sync(() => {
    kept.client?.close();
    client.close();
  })
).pipe(Effect69.map(({ client }) => client));
var begin = async (url, kept) => {
  const client = kept.client ?? createClient({ url });
  kept.client = void 0;
  let isSound = true;
  const trying = async (f) => {
    try {
      return await f();
    } catch (error) {
      isSound = false;
      throw error;
    }
  };
  const end = async (statement) => {
    try {
      await trying(() => client.execute(statement));
    } finally {
      if (isSound) kept.client = client;
      else client.close();
    }
  };
  try {
    await client.execute("BEGIN IMMEDIATE");
  } catch (error) {
    client.close();
    throw error;
  }
  return {
    execute: (statement) => trying(() => client.execute(statement)),
    batch: (statements) => trying(() => client.batch(statements)),
    executeMultiple: (text5) => trying(() => client.executeMultiple(text5)),
    commit: () => end("COMMIT"),
    // A full disk has rolled it back already; closing does in any case.
    rollback: () => end("ROLLBACK").catch(() => void 0),
    close: () => client.close(),
    get closed() {
      return client.closed;
    }
  };
};
var notBegun = (error) => {
  const refuse2 = () => Promise.reject(error instanceof Error ? error : new Error(String(error)));
  const nothing3 = () => void 0;
  return { execute: refuse2, batch: refuse2, executeMultiple: refuse2, commit: refuse2, rollback: () => Promise.resolve(), close: nothing3, closed: true };
};
var patiently2 = async (f) => Either23.getOrThrowWith(
  await Effect69.runPromise(Effect69.either(Effect69.tryPromise({ try: f, catch: (error) => error }).pipe(Effect69.retry({ while: isBusy, schedule: patience2 })))),
  (error) => error
);
var isBusy = (error) => /SQLITE_BUSY|database is locked/.test(messageOf(error));
var patience2 = Schedule5.exponential("20 millis").pipe(
  Schedule5.union(Schedule5.spaced("250 millis")),
  Schedule5.jittered,
  Schedule5.upTo("20 seconds")
);
var prepare = ({ isPersonal = false, stateDirectory: directory3 }) => Effect69.gen(function* () {
  const trying = (f) => Effect69.tryPromise({
    try: f,
    catch: (error) => new CatalogError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The state directory ${directory3} can't be used: ${messageOf(error)}`, { cause: error }))
  });
  yield* trying(() => makeDirectory(directory3, isPersonal));
  const found = yield* trying(() => stat6(directory3));
  const me2 = process.geteuid?.() ?? 0;
  if (found.uid !== me2) {
    const account = yield* accountOf2(found.uid);
    const remedy = account === void 0 ? "Run it as the account that owns it." : `Run it as the account ${account}: runuser -u ${account} -- shifterimg \u2026`;
    return yield* unusable3(`The state directory ${directory3} belongs to uid ${found.uid}, not to uid ${me2}`, void 0, remedy);
  }
  if ((found.mode & 63) !== 0) return yield* unusable3(`The state directory ${directory3} is open to others`, void 0, `Run: chmod 0700 ${directory3}`);
  const name = refusedFileSystems[Number((yield* trying(() => statfs2(directory3))).type)];
  if (name !== void 0) {
    return yield* unusable3(`The state directory ${directory3} is on ${name}, which has no locks that a catalogue can trust`, void 0, "Name a stateDirectory on a local disk.");
  }
  const file = nodePath24.join(directory3, "catalog.db");
  const journalled = async () => {
    const client = createClient({ url: `file:${file}` });
    try {
      await client.execute("PRAGMA journal_mode = WAL");
    } finally {
      client.close();
    }
  };
  yield* Effect69.tryPromise({ try: () => patiently2(journalled), catch: (error) => error }).pipe(Effect69.catchAll((error) => failed4(error, directory3)));
  return file;
});
var accountOf2 = (uid) => output("getent", ["passwd", String(uid)]).pipe(
  Effect69.map(({ stdout }) => /^([A-Za-z0-9_][A-Za-z0-9_.-]*):/.exec(stdout)?.[1]),
  Effect69.orElseSucceed(() => void 0)
);

// src/wlm/slurm/index.ts
import * as Effect76 from "effect/Effect";

// src/wlm/slurm/Check.ts
init_Errors();
import { lstat as lstat3, readFile as readFile6, stat as stat7 } from "node:fs/promises";
import * as nodePath26 from "node:path";
import * as Effect71 from "effect/Effect";

// src/wlm/slurm/Programs.ts
init_Errors();
init_Process();
import * as nodePath25 from "node:path";
import * as Effect70 from "effect/Effect";
var LONGEST = "90 seconds";
var ask = ({ config, programs }, name, args) => output(programs === void 0 ? name : nodePath25.join(programs, name), args, void 0, config === void 0 ? {} : { SLURM_CONF: config }).pipe(
  Effect70.mapError((fault2) => new WlmError(errorFields("WLM_MISSING", `Slurm can't be asked: ${messageOf(fault2)}`, { cause: fault2 }))),
  Effect70.timeoutFail({ duration: LONGEST, onTimeout: () => new WlmError(errorFields("WLM_MISSING", `Slurm's ${name} does not answer within ${LONGEST}`)) }),
  Effect70.filterOrFail(
    ({ status, stderr }) => status === 0 || !AWAY2.test(stderr),
    ({ stderr }) => new WlmError(errorFields("WLM_MISSING", `Slurm's ${name} does not reach its controller: ${said2(stderr)}`))
  )
);
var AWAY2 = /unable to contact slurm controller|could not establish a configuration source|communication connection failure|connection refused|socket timed out|authentication|munge|zero bytes were transmitted|unable to process configuration/i;
var said2 = (stderr) => printable(stderr.trim().replace(/\s*\n\s*/g, "; ").replace(/\.$/, "") || "it said nothing");

// src/wlm/slurm/Rendering.ts
var pluginOf = (prefix) => `${prefix}/lib/shifter/shifter_slurm.so`;
var jobProgramOf = (prefix) => `${prefix}/libexec/shifter/shifter-job`;
var pluginLine = ({ longOptions, prefix, shifterimg, tasks: tasks2 }) => ["required", pluginOf(prefix), ...longOptions ? ["long_options"] : [], ...tasks2 === "inside" ? ["tasks=inside"] : [], ...shifterimg === void 0 ? [] : [`shifterimg=${shifterimg}`]].join(" ");
var render = (installation) => {
  const { directory: directory3, prefix } = installation;
  const ofRoot2 = `# Belongs to root, mode 0755, on every compute node: ${directory3}.`;
  return [
    {
      name: "plugstack.conf",
      mode: 420,
      content: `# The options of sbatch, salloc and srun, and what a step runs inside of. Belongs on every machine of the cluster where jobs are submitted
# or run. In /etc/slurm/plugstack.conf, or the file that PlugStackConfig of slurm.conf names, write:
#   include ${directory3}/plugstack.conf
${pluginLine(installation)}
`
    },
    {
      name: "prologue",
      mode: 493,
      content: `#!${jobProgramOf(prefix)} slurm-prologue
# Run by slurmd as root before a job's first task: prepares the root that the job asked for. The program above reads none of this; no shell does.
${ofRoot2}
`
    },
    {
      name: "epilogue",
      mode: 493,
      content: `#!${jobProgramOf(prefix)} slurm-epilogue
# Run by slurmd as root after a job's last task: removes the job's roots. The program above reads none of this; no shell does.
${ofRoot2}
`
    },
    {
      name: "slurm.conf",
      mode: 420,
      content: `# What slurm.conf needs, on every machine of the cluster. Where it has none of these lines yet, write in it:
#   include ${directory3}/slurm.conf
# Where it has, add these to its own: a Prolog that is a pattern, such as /etc/slurm/prolog.d/*, runs a link to this one beside others, and flags are
# separated by commas. Then: scontrol reconfigure
Prolog=${directory3}/prologue
Epilog=${directory3}/epilogue
# The root is ready when salloc returns, and not only when the first step begins.
PrologFlags=Alloc
`
    }
  ];
};

// src/wlm/slurm/Check.ts
var check2 = (installation, reached) => Effect71.gen(function* () {
  const { directory: directory3, prefix } = installation;
  const programs = yield* Effect71.forEach(
    [
      ["plugin", pluginOf(prefix)],
      ["prologue's program", jobProgramOf(prefix)]
    ],
    ([name, file]) => Effect71.promise(() => ofRoot(name, file))
  );
  const files4 = yield* Effect71.forEach(render(installation), ({ content, mode, name }) => Effect71.promise(() => asRendered(nodePath26.join(directory3, name), content, mode)));
  return [...programs, ...files4, ...yield* settings3(installation, reached), ...yield* options(installation, reached)];
});
var ofRoot = async (name, file) => {
  for (let path3 = file; ; path3 = nodePath26.dirname(path3)) {
    try {
      const { mode, uid } = await stat7(path3);
      if (uid !== 0) return { name, ok: false, detail: `${path3} is uid ${uid}'s, and must be root's` };
      if ((mode & 18) !== 0 && (mode & 512) === 0) return { name, ok: false, detail: `${path3} can be written by others than root` };
    } catch (error) {
      return { name, ok: false, detail: systemCode(error) === "ENOENT" ? `there is no ${path3}` : messageOf(error) };
    }
    if (path3 === "/") return { name, ok: true, detail: file };
  }
};
var asRendered = async (file, content, mode) => {
  const name = nodePath26.basename(file);
  const owned2 = await ofRoot(name, file);
  if (!owned2.ok) return owned2;
  const found = (await lstat3(file)).mode & 511;
  if (found !== mode) return { name, ok: false, detail: `${file} has mode ${found.toString(8)}, not ${mode.toString(8)}` };
  const text5 = await readFile6(file, "utf8").catch(messageOf);
  return text5 === content ? owned2 : { name, ok: false, detail: `${file} is not what is rendered: another version or configuration has written it` };
};
var settings3 = (installation, reached) => ask(reached, "scontrol", ["show", "config"]).pipe(
  Effect71.map(({ status, stderr, stdout }) => {
    if (status !== 0) return [{ name: "slurm.conf", ok: false, detail: `scontrol tells no settings: ${said2(stderr)}` }];
    const { directory: directory3 } = installation;
    const runs = (name, key, file) => {
      const found = valuesOf(stdout, key);
      return found.some((pattern15) => matches(pattern15, file)) ? { name, ok: true, detail: `${key}=${file}` } : { name, ok: found.some((each) => each.includes("*")), detail: `${key} is ${found.join(",") || "not set"}, and ${file} is to be among what it names`, advice: found.some((each) => each.includes("*")) };
    };
    const flags = valuesOf(stdout, "PrologFlags").flatMap((text5) => text5.split(","));
    const early = flags.some((flag) => /^(?:alloc|contain)$/i.test(flag));
    return [
      runs("Prolog", "Prolog", `${directory3}/prologue`),
      runs("Epilog", "Epilog", `${directory3}/epilogue`),
      { name: "PrologFlags", ok: early, detail: early ? flags.join(",") : "Alloc is not among them: salloc returns before the root is there" }
    ];
  }),
  Effect71.catchAll((error) => Effect71.succeed([{ name: "slurm.conf", ok: false, detail: error.message }]))
);
var valuesOf = (printed, key) => printed.split("\n").flatMap((line) => {
  const [, name, value9 = ""] = /^(\w+)(?:\[\d+\])?\s*=\s*(.*?)\s*$/.exec(line) ?? [];
  return name === key && value9 !== "" && value9 !== "(null)" ? [value9] : [];
});
var matches = (pattern15, file) => new RegExp(`^${pattern15.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", "[^/]*").replaceAll("?", "[^/]")}$`).test(file);
var options = ({ longOptions }, reached) => ask(reached, "srun", ["--help"]).pipe(
  Effect71.map(({ stderr, stdout }) => {
    const option = longOptions ? "--shifter.image" : "--image";
    const loaded = new RegExp(`^\\s*${option.replace(".", "\\.")}\\b`, "m").test(stdout);
    return [{ name: "options", ok: loaded, detail: loaded ? `srun has ${option}` : `srun has no ${option}: plugstack.conf does not load the plugin${stderr.trim() === "" ? "" : `: ${said2(stderr)}`}` }];
  }),
  Effect71.catchAll((error) => Effect71.succeed([{ name: "options", ok: false, detail: error.message }]))
);

// src/wlm/slurm/Environment.ts
init_Errors();
import * as Effect74 from "effect/Effect";

// src/core/Requested.ts
init_Errors();
init_Limits();
import * as Effect72 from "effect/Effect";
var fromEnvironment = (environment2) => Effect72.gen(function* () {
  const { SHIFTER_IMAGE, SHIFTER_IMAGEREQUEST, SHIFTER_IMAGETYPE, SHIFTER_MODULE, SHIFTER_VOLUME } = environment2;
  const asked2 = given(SHIFTER_IMAGE) ?? given(SHIFTER_IMAGEREQUEST);
  if (asked2 === void 0) return void 0;
  const image2 = given(SHIFTER_IMAGETYPE) === void 0 || asked2.startsWith(`${SHIFTER_IMAGETYPE}:`) ? asked2 : `${SHIFTER_IMAGETYPE}:${asked2}`;
  if (!image2.includes(":")) return yield* invalid2("SHIFTER_IMAGE", asked2, "it has no type");
  if (Buffer.byteLength(image2) > formatLimits.imageReferenceBytes) return yield* invalid2("SHIFTER_IMAGE", asked2, `it is longer than ${formatLimits.imageReferenceBytes} bytes`);
  const volumes = given(SHIFTER_VOLUME)?.split(";").filter((volume) => volume !== "") ?? [];
  const modules = given(SHIFTER_MODULE) === void 0 ? void 0 : SHIFTER_MODULE === "none" ? [] : SHIFTER_MODULE?.split(",");
  for (const [variable, text5] of [["SHIFTER_IMAGE", image2], ["SHIFTER_VOLUME", SHIFTER_VOLUME], ["SHIFTER_MODULE", SHIFTER_MODULE]]) {
    if (text5 !== void 0 && /[\u0000-\u001f\u007f]/.test(text5)) return yield* invalid2(variable, text5, "it holds control characters");
  }
  const odd = modules?.find((name) => !/^[A-Za-z0-9_.+-]{1,255}$/.test(name));
  if (odd !== void 0) return yield* invalid2("SHIFTER_MODULE", SHIFTER_MODULE ?? "", `"${odd.slice(0, 100)}" is no name of a module`);
  return { image: image2, volumes, modules, writable: [] };
});
var given = (text5) => text5 === "" ? void 0 : text5;
var invalid2 = (variable, text5, why) => new WlmError(errorFields("JOB_INVALID", `${variable} is "${text5.slice(0, 200)}": ${why}`));

// src/wlm/slurm/Nodes.ts
init_Errors();
import * as Effect73 from "effect/Effect";
var MOST_NODES = 1e5;
var NODE = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})$/;
var invalid3 = (variable, text5, why) => new WlmError(errorFields("JOB_INVALID", `${variable} is "${text5.slice(0, 200)}": ${why}`));
var names = (variable, text5) => Effect73.suspend(() => {
  const found = [];
  for (const entry of entriesOf(text5)) {
    const some7 = expand(entry, MOST_NODES - found.length);
    if (some7 === void 0) return invalid3(variable, text5, `a range of "${entry.slice(0, 100)}" is none, or it names more than ${MOST_NODES} nodes`);
    found.push(...some7);
  }
  const odd = found.find((name) => !NODE.test(name));
  if (odd !== void 0) return invalid3(variable, text5, `"${odd.slice(0, 100)}" is no name of a node`);
  return Effect73.succeed(found);
});
var entriesOf = (text5) => text5.match(/(?:[^,[\]]|\[[^[\]]*\])+|[[\],]/g)?.filter((entry) => entry !== ",") ?? [];
var expand = (entry, most) => {
  let found = [""];
  for (const [part] of entry.matchAll(/\[[^\]]*\]|[^[]+|\[/g)) {
    const values = part.startsWith("[") ? ranges(part.slice(1, -1), most) : [part];
    if (values === void 0 || values.length * found.length > most) return void 0;
    found = found.flatMap((start2) => values.map((value9) => start2 + value9));
  }
  return found;
};
var ranges = (text5, most) => {
  const found = [];
  for (const range of text5.split(",")) {
    const [, first, last] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range) ?? [];
    if (first === void 0) return void 0;
    const [from, to] = [Number(first), Number(last ?? first)];
    if (to < from || to - from >= most - found.length) return void 0;
    for (let n = from; n <= to; n++) found.push(String(n).padStart(first.length, "0"));
  }
  return found;
};
var tasks = (variable, text5, nodes) => Effect73.suspend(() => {
  const found = [];
  for (const entry of text5.split(",")) {
    const [, count3, times2 = "1"] = /^(\d{1,6})(?:\(x(\d{1,6})\))?$/.exec(entry) ?? [];
    if (count3 === void 0 || Number(times2) > nodes - found.length) return invalid3(variable, text5, `it is no list of tasks on ${nodes} nodes`);
    for (let i = 0; i < Number(times2); i++) found.push(Number(count3));
  }
  return found.length === nodes ? Effect73.succeed(found) : invalid3(variable, text5, `it tells of ${found.length} nodes, and the job has ${nodes}`);
});

// src/wlm/slurm/Environment.ts
var jobOf = (environment2, self) => Effect74.gen(function* () {
  const job = environment2.SLURM_JOB_ID;
  if (job === void 0) return void 0;
  if (!/^[1-9][0-9]{0,9}$/.test(job)) return yield* invalid4("SLURM_JOB_ID", job);
  const uid = yield* idOf("SLURM_JOB_UID", environment2.SLURM_JOB_UID ?? own2(self?.uid));
  const gid = yield* idOf("SLURM_JOB_GID", environment2.SLURM_JOB_GID ?? (uid === self?.uid ? own2(self.gid) : void 0));
  const request = yield* fromEnvironment({ ...environment2, ...prologueOf(environment2) });
  return { job, uid, gid, nodes: yield* nodesOf(environment2), request };
});
var own2 = (id) => id === void 0 ? void 0 : String(id);
var prologueOf = (environment2) => Object.fromEntries(Object.entries(environment2).flatMap(([name, value9]) => name.startsWith("SPANK_SHIFTER_") ? [[name.slice("SPANK_".length), value9]] : []));
var nodesOf = (environment2) => Effect74.gen(function* () {
  const list4 = environment2.SLURM_JOB_NODELIST;
  if (list4 === void 0 || list4 === "") return [];
  const names2 = yield* names("SLURM_JOB_NODELIST", list4);
  const told8 = environment2.SLURM_TASKS_PER_NODE;
  const tasks2 = told8 === void 0 ? void 0 : yield* tasks("SLURM_TASKS_PER_NODE", told8, names2.length);
  return names2.map((name, i) => ({ name, tasks: tasks2?.[i] ?? 1 }));
});
var idOf = (variable, text5) => text5 !== void 0 && /^(?:0|[1-9][0-9]{0,9})$/.test(text5) && Number(text5) < 4294967295 ? Effect74.succeed(Number(text5)) : invalid4(variable, text5);
var invalid4 = (variable, text5) => new WlmError(errorFields("JOB_INVALID", text5 === void 0 ? `${variable} is not set` : `${variable} is "${text5.slice(0, 200)}", which no job of Slurm has`));

// src/wlm/slurm/Jobs.ts
init_Errors();
import { mkdtemp, rm as rm11, writeFile as writeFile3 } from "node:fs/promises";
import { tmpdir } from "node:os";
import * as nodePath27 from "node:path";
import * as Effect75 from "effect/Effect";
var SCRIPT = '#!/bin/sh\nexec "$@"\n';
var jobs = (reached, options2) => ({
  submit: (job) => Effect75.scoped(Effect75.flatMap(script, (file) => submit(reached, [...options2, ...optionsOf(job), file, ...job.command]))),
  state: (id) => (
    // Wide enough that nothing is cut.
    Effect75.flatMap(ask(reached, "squeue", ["--noheader", "--states=all", `--jobs=${id}`, "--Format=JobID:20,State:30,exit_code:20"]), (answer) => {
      if (answer.status !== 0 && !UNKNOWN.test(answer.stderr)) return failed5("squeue", id, answer.stderr);
      return Effect75.succeed(stateOf(id, answer.stdout));
    })
  ),
  cancel: (id) => Effect75.flatMap(ask(reached, "scancel", ["--quiet", id]), ({ status, stderr }) => status === 0 || OVER.test(stderr) || UNKNOWN.test(stderr) ? Effect75.void : failed5("scancel", id, stderr))
});
var UNKNOWN = /invalid job id/i;
var OVER = /already (?:completing|completed|finished)/i;
var failed5 = (program3, id, stderr) => new WlmError(errorFields("WLM_FAILED", `Slurm's ${program3} does not tell of job ${id}: ${said2(stderr)}`));
var script = Effect75.acquireRelease(
  Effect75.tryPromise({
    try: () => mkdtemp(nodePath27.join(tmpdir(), "shifter-sbatch-")),
    catch: (error) => new WlmError(errorFields("WLM_REFUSED", `No job can be written in ${tmpdir()}: ${messageOf(error)}`, { cause: error }))
  }),
  (directory3) => Effect75.promise(() => rm11(directory3, { recursive: true, force: true }))
).pipe(
  Effect75.flatMap((directory3) => {
    const file = nodePath27.join(directory3, "job");
    return Effect75.tryPromise({
      try: async () => {
        await writeFile3(file, SCRIPT, { mode: 384 });
        return file;
      },
      catch: (error) => new WlmError(errorFields("WLM_REFUSED", `No job can be written in ${directory3}: ${messageOf(error)}`, { cause: error }))
    });
  })
);
var optionsOf = ({ directory: directory3, name, output: output2 }) => [
  "--parsable",
  "--no-requeue",
  "--nodes=1",
  "--ntasks=1",
  "--open-mode=truncate",
  `--job-name=${name}`,
  `--chdir=${directory3}`,
  // `%` stands for something in it.
  `--output=${output2.replaceAll("%", "%%")}`
];
var submit = (reached, args) => Effect75.gen(function* () {
  const { status, stderr, stdout } = yield* ask(reached, "sbatch", args);
  if (status !== 0) return yield* new WlmError(errorFields("WLM_REFUSED", `Slurm does not take the job: ${said2(stderr)}`));
  const [, id] = /^([1-9][0-9]{0,9})(?:;[^\s;]*)?\n?$/.exec(stdout) ?? [];
  if (id === void 0) return yield* new WlmError(errorFields("WLM_FAILED", `Slurm took a job, and told "${printable(stdout.trimEnd())}" instead of its id`));
  return id;
});
var WAITING2 = /* @__PURE__ */ new Set(["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "POWER_UP_NODE"]);
var ENDED = /* @__PURE__ */ new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"]);
var stateOf = (id, printed) => {
  for (const line of printed.split("\n")) {
    const [job, state = "", code = ""] = line.trim().split(/\s+/);
    if (job !== id) continue;
    if (WAITING2.has(state)) return { _tag: "Waiting" };
    if (!ENDED.has(state)) return { _tag: "Running" };
    const status = statusOf(code);
    return state === "COMPLETED" ? { _tag: "Ended", status } : { _tag: "Ended", status: status === 0 ? 1 : status, why: state };
  }
  return { _tag: "Lost" };
};
var statusOf = (code) => {
  const [, first = "1", signal] = /^(\d{1,10})(?::(\d{1,3}))?$/.exec(code) ?? [];
  if (signal !== void 0) return Number(signal) === 0 ? Number(first) : 128 + Number(signal);
  const raw2 = Number(first);
  return (raw2 & 127) === 0 ? raw2 >> 8 & 255 : 128 + (raw2 & 127);
};

// src/wlm/slurm/index.ts
var PREFIX = "/usr/local";
var adapter = ({ config, directory: directory3 = "/etc/slurm/shifter", jobOptions = [], longOptions = false, prefix = PREFIX, programs, shifterimg, tasks: tasks2 = "outside" } = {}) => {
  const installation = { prefix, directory: directory3, longOptions, tasks: tasks2, shifterimg };
  const reached = { config, programs };
  const self = process.getuid === void 0 || process.getgid === void 0 ? void 0 : { uid: process.getuid(), gid: process.getgid() };
  return {
    name: "slurm",
    jobOf: (environment2) => jobOf(environment2, self),
    render: Effect76.sync(() => render(installation)),
    check: check2(installation, reached),
    batch: jobs(reached, jobOptions)
  };
};

// src/adapters.ts
var adapters = {
  slurm: (site, { slurm: settings4 }, jobOptions) => adapter({ ...settings4, prefix: settings4?.prefix ?? site.prefix, jobOptions })
};

// src/live.ts
init_Executor();
init_Gateway();
init_NodeHttp();
init_Image();
init_ImageIndex();
init_Indexed();

// src/core/JobExecutor.ts
import { lstat as lstat4, mkdir as mkdir4, readdir as readdir5, readFile as readFile8, rm as rm12 } from "node:fs/promises";
import * as nodePath29 from "node:path";
import * as Effect79 from "effect/Effect";
import * as Layer11 from "effect/Layer";

// src/core/Batch.ts
init_Errors();
import * as Duration7 from "effect/Duration";
import * as Effect77 from "effect/Effect";
var FIRST_LOOK2 = 250;
var LAST_LOOK2 = 5e3;
var LAST_WAIT = "15 seconds";
var run3 = (batch, job, submitted = () => Effect77.void) => Effect77.acquireUseRelease(
  batch.submit(job),
  (id) => Effect77.gen(function* () {
    yield* submitted(id);
    const state = yield* ended3(batch, id);
    if (state._tag === "Ended") return state;
    return yield* new WlmError(errorFields("WLM_FAILED", `The workload manager does not know the job ${id} (${job.name}) any more`));
  }),
  (id, exit2) => exit2._tag === "Success" ? Effect77.void : cancelled(batch, id)
);
var cancelled = (batch, id) => Effect77.zipRight(batch.cancel(id), Effect77.timeout(Effect77.interruptible(ended3(batch, id)), LAST_WAIT)).pipe(
  Effect77.catchAll((error) => Effect77.logWarning(`The job ${id} may still run`, error))
);
var ended3 = (batch, id) => Effect77.gen(function* () {
  for (let millis4 = FIRST_LOOK2; ; millis4 = Math.min(LAST_LOOK2, millis4 * 1.3)) {
    const state = yield* batch.state(id);
    if (state._tag === "Ended" || state._tag === "Lost") return state;
    yield* Effect77.sleep(Duration7.millis(millis4));
  }
});

// src/core/JobExecutor.ts
init_Catalog();

// src/core/ConversionJob.ts
init_Errors();
import { constants as constants7, createReadStream as createReadStream3, createWriteStream as createWriteStream2 } from "node:fs";
import { chmod as chmod2, copyFile as copyFile3, link as link3, readFile as readFile7, writeFile as writeFile4 } from "node:fs/promises";
import * as nodePath28 from "node:path";
import { pipeline as pipeline2 } from "node:stream/promises";
import * as Effect78 from "effect/Effect";
init_Packer();
var files2 = { script: "convert", log: "log", orders: "orders", report: "report", job: "job", image: "image" };
var KNOWN_WITHIN = 120;
var script2 = (knownWithin) => `#!/bin/sh
# Converts an image: convert DIRECTORY PREFIX VERSION-OF-TAR2SQFS MERGE-ARGUMENT...
set -u
umask 077
cd "$1" || exit 1
PATH=$2/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SOURCE_DATE_EPOCH=0 LC_ALL=C.UTF-8
export PATH SOURCE_DATE_EPOCH LC_ALL
version=$3
shift 3
waited=0
until [ -e ${files2.job} ]; do
  waited=$((waited + 1))
  [ "$waited" -gt ${knownWithin} ] && exit 3
  sleep 1
done
tar2sqfs --version | grep -q -w -F -e "$version" || exit 4
merge() {
  {
    shifter-merge "$@" <${files2.orders} 3>&1 1>${files2.report} 2>merge.log
    echo $? >merge.status
  } | tar2sqfs ${tar2sqfsArguments.join(" ")} --num-jobs "$(nproc)" ${files2.image} >/dev/null 2>pack.log
  echo $? >pack.status
}
merge "$@"
if grep -q '^plan-needed' ${files2.report}; then
  rm -f ${files2.image}
  merge --plan "$@"
fi
exit 0
`;
var prepare2 = ({ directory: directory3, layers, packer, prefix, program: program3 }) => Effect78.gen(function* () {
  const at = (name) => nodePath28.join(directory3, name);
  const copies = /* @__PURE__ */ new Map();
  const orders = [];
  for (const [i, layer13] of [...layers.entries()].reverse()) {
    const range = yield* layer13.blob;
    const known2 = copies.get(range.file);
    const file = known2 ?? at(`layer-${i}`);
    if (known2 === void 0) yield* copy3(range.file, file);
    copies.set(range.file, file);
    orders.push(orderOf(i, layer13, { ...range, file }));
  }
  yield* written2(directory3, async () => {
    await writeFile4(at(files2.orders), orders.join(""), { flag: "wx", mode: 384 });
    await writeFile4(at(files2.script), script2(KNOWN_WITHIN), { flag: "wx", mode: 384 });
  });
  return ["/bin/sh", at(files2.script), directory3, prefix, packer, ...argumentsOf(layers.length, { ...program3, plan: false })];
});
var known = (directory3, id) => written2(directory3, () => writeFile4(nodePath28.join(directory3, files2.job), id, { flag: "wx", mode: 384 }));
var written2 = (directory3, write4) => Effect78.tryPromise({
  try: write4,
  catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `The directory of conversions ${directory3} can't be written: ${messageOf(error)}`, { cause: error }))
});
var copy3 = (from, to) => Effect78.tryPromise({
  try: async (signal) => {
    try {
      await link3(from, to);
    } catch (error) {
      if (!cantLink.includes(systemCode(error) ?? "")) throw error;
      await duplicate(from, to, signal);
    }
  },
  catch: (error) => new GatewayError(errorFields(storageCode(error, "STATE_UNUSABLE"), `${from} can't be copied to ${to}: ${messageOf(error)}`, { cause: error }))
});
var cantLink = ["EXDEV", "EPERM", "EMLINK", "EOPNOTSUPP", "ENOTSUP", "EACCES"];
var duplicate = async (from, to, signal) => {
  try {
    await copyFile3(from, to, constants7.COPYFILE_EXCL | constants7.COPYFILE_FICLONE_FORCE);
    await chmod2(to, 384);
  } catch (error) {
    if (systemCode(error) === "EEXIST") throw error;
    await pipeline2(createReadStream3(from), createWriteStream2(to, { flags: "w", mode: 384 }), { signal });
  }
};
var take2 = ({ directory: directory3, layers }, target2, how) => Effect78.gen(function* () {
  const read10 = (name) => Effect78.promise(() => readFile7(nodePath28.join(directory3, name), "utf8").catch(() => ""));
  const status = (text5) => /^\d{1,3}\n$/.test(text5) ? Number(text5) : void 0;
  const outcome2 = (yield* read10(files2.report)).split("\n").reduce((last, line) => outcomeOf(layers, line) ?? last, void 0);
  const [merged2, packed] = [status(yield* read10("merge.status")), status(yield* read10("pack.status"))];
  const isOver = merged2 !== void 0 && packed !== void 0;
  if (isOver && outcome2?._tag === "Fault") return yield* outcome2.error;
  if (isOver && outcome2 !== void 0 && packed !== 0) return yield* packerFault({ status: packed, stderr: yield* read10("pack.log") }, nodePath28.join(directory3, files2.image));
  if (!isOver || outcome2?._tag !== "Done" || merged2 !== 0) {
    const said4 = [yield* read10("merge.log"), yield* read10(files2.log)].map((text5) => text5.trim()).filter((text5) => text5 !== "");
    return yield* new WlmError(errorFields("WLM_FAILED", `The job of a conversion ${how}, and did not do it: ${printable(said4.join("; ") || "it said nothing")}`));
  }
  yield* Effect78.tryPromise({
    try: (signal) => duplicate(nodePath28.join(directory3, files2.image), target2, signal),
    catch: (error) => new GatewayError(errorFields(storageCode(error, "IMAGE_PATH_UNUSABLE"), `The image can't be written at ${target2}: ${messageOf(error)}`, { cause: error }))
  });
  return outcome2.summary;
});
var refusal4 = (status, packer) => status === 3 ? new WlmError(errorFields("WLM_FAILED", `The job of a conversion did not see its directory change within ${KNOWN_WITHIN} seconds`)) : status === 4 ? new PackerError(errorFields("TOOL_UNSUITABLE", `The node that was to convert has no tar2sqfs ${packer}, which is this machine's version`, { remedy: "Install the same squashfs-tools-ng on both." })) : void 0;

// src/core/JobExecutor.ts
init_Errors();
init_Executor();
init_Packer();
var layer10 = (options2) => Layer11.effect(
  Executor,
  Effect79.gen(function* () {
    const here2 = yield* Executor;
    const packer = yield* Packer;
    const catalog = yield* Catalog;
    const asJob = (conversion, version3) => Effect79.scoped(
      Effect79.gen(function* () {
        const { resolved, target: target2, workspace } = conversion;
        const { layers } = yield* resolved.open;
        if (layers === void 0) return void 0;
        yield* usable(options2.directory);
        yield* sweep2(options2, catalog);
        const token = nodePath29.basename(workspace.scratch);
        const directory3 = yield* made2(nodePath29.join(options2.directory, PREFIX2 + token));
        const inputs = { directory: directory3, layers, prefix: options2.prefix, packer: version3, program: { limits: options2.limits, sample: workspace.sample } };
        const command = yield* prepare2(inputs);
        const job = { name: `shifter-${token.slice(0, 16)}`, command, directory: directory3, output: nodePath29.join(directory3, files2.log) };
        const end = yield* run3(options2.batch, job, (id) => known(directory3, id)).pipe(
          Effect79.map(({ status, why }) => ({ status, how: `ended with ${why ?? `status ${status}`}` })),
          // What it has made says more than who forgot it.
          Effect79.catchIf((error) => error.code === "WLM_FAILED", (error) => Effect79.succeed({ status: void 0, how: `was lost (${error.what})` }))
        );
        return yield* refusal4(end.status, version3) ?? take2(inputs, target2, end.how);
      })
    );
    const convert4 = (conversion) => Effect79.gen(function* () {
      if (conversion.resolved.blobs.reduce((sum, blob2) => sum + blob2.bytes, 0) < options2.fromBytes) return yield* here2.convert(conversion);
      const version3 = yield* versionOf(packer);
      yield* conversion.fetched;
      return (yield* asJob(conversion, version3)) ?? (yield* here2.convert(conversion));
    });
    return Executor.of({ convert: convert4 });
  })
);
var PREFIX2 = "conversion-";
var NAME = /^conversion-([0-9a-f]{16,64})$/;
var JOB = /^[A-Za-z0-9._@[\]-]{1,128}$/;
var versionOf = (packer) => Effect79.flatMap(packer.profile, ({ packer: name }) => {
  const [, version3] = /^tar2sqfs (\S+)$/.exec(name) ?? [];
  return version3 === void 0 ? new PackerError(errorFields("TOOL_UNSUITABLE", `Jobs convert with tar2sqfs, and the packer here is ${name}`, { remedy: "Take conversions out of the configuration." })) : Effect79.succeed(version3);
});
var unusable4 = (directory3, why) => new GatewayError(errorFields(storageCode(why, "STATE_UNUSABLE"), `The directory of conversions ${directory3}: ${messageOf(why)}`, { cause: why, remedy: "Make it the gateway's account's own, with mode 0700, on a file system that the nodes share." }));
var usable = (directory3) => Effect79.tryPromise({
  try: async () => {
    const found = await lstat4(directory3);
    if (!found.isDirectory()) throw new Error("it is no directory");
    if (found.uid !== process.geteuid?.()) throw new Error(`it is uid ${found.uid}'s`);
    if ((found.mode & 18) !== 0) throw new Error("others may write there");
  },
  catch: (error) => unusable4(directory3, error)
});
var made2 = (directory3) => Effect79.acquireRelease(
  Effect79.as(Effect79.tryPromise({ try: () => mkdir4(directory3, { mode: 448 }), catch: (error) => unusable4(directory3, error) }), directory3),
  () => Effect79.ignoreLogged(removed(directory3))
);
var removed = (directory3) => Effect79.tryPromise(() => rm12(directory3, { recursive: true, force: true, maxRetries: 5 }));
var sweep2 = ({ batch, directory: directory3 }, catalog) => Effect79.gen(function* () {
  const names2 = yield* Effect79.tryPromise({ try: () => readdir5(directory3), catch: (error) => unusable4(directory3, error) });
  const tokens2 = names2.flatMap((name) => NAME.exec(name)?.[1] ?? []);
  if (tokens2.length === 0) return;
  const running = new Set(yield* catalog.running);
  yield* Effect79.forEach(
    tokens2.filter((token) => !running.has(token)),
    (token) => Effect79.gen(function* () {
      const left17 = nodePath29.join(directory3, PREFIX2 + token);
      const job = yield* Effect79.promise(() => readFile8(nodePath29.join(left17, files2.job), "utf8").catch(() => ""));
      if (JOB.test(job)) yield* cancelled(batch, job);
      yield* Effect79.ignoreLogged(removed(left17));
    }),
    { discard: true, concurrency: 4 }
  );
});

// src/live.ts
init_Packer();
init_Site();
init_Transport();
init_Uploads();

// src/transports/local/index.ts
import { rm as rm13 } from "node:fs/promises";
import * as Effect83 from "effect/Effect";
import * as Layer12 from "effect/Layer";

// src/core/ImagePath.ts
init_Errors();
init_ImageRecord();
init_ImageRef();
init_Limits();
init_Meta();
import { randomBytes as randomBytes12 } from "node:crypto";
import * as nodePath31 from "node:path";
import * as Data5 from "effect/Data";
import * as Effect81 from "effect/Effect";
import * as Either26 from "effect/Either";

// src/core/NameFile.ts
init_Errors();
init_FieldFile();
init_ImageRef();
init_Limits();
import * as Either25 from "effect/Either";
var kind2 = {
  magic: "shifter-name",
  version: 1,
  limit: formatLimits.nameBytes,
  keys: { reference: "required", id: "required" }
};
var pathOf = (canonical) => {
  const hash2 = nameHash(canonical);
  return `names/${hash2.slice(0, 2)}/${hash2}`;
};
var encode4 = (name) => {
  const bytes2 = encode(kind2, [
    ["reference", name.reference],
    ["id", name.id]
  ]);
  return Either25.map(decode9(bytes2), () => bytes2);
};
var decode9 = (bytes2) => Either25.flatMap(decode(kind2, bytes2), (fields) => {
  const reference = fields.get("reference")?.[0] ?? "";
  const id = fields.get("id")?.[0] ?? "";
  return isCanonical(reference) && isImageId(id) ? Either25.right({ reference, id }) : Either25.left(new FormatError(errorFields("RECORD_INVALID", "This name holds no canonical reference or no valid image id")));
});

// src/core/ImagePath.ts
var FileFault = class extends Data5.TaggedError("FileFault") {
};
var isFault = (...codes2) => (error) => error instanceof FileFault && codes2.includes(systemCode(error.cause) ?? "");
var ifThere = (effect7) => Effect81.catchIf(effect7, isFault("ENOENT", "ENOTDIR"), () => Effect81.succeed(void 0));
var STAGING = ".staging.";
var stagedName = /^\.staging\.([^.]+)\../;
var PARALLEL_READS = 16;
var transport = (way) => ({
  ready: (system2) => worded2("IMAGE_PATH_UNUSABLE", system2, Effect81.zipRight(usable2(way.files(system2), system2), way.ready(system2))),
  stage: (system2, token, scratch) => worded2("IMAGE_PATH_UNUSABLE", system2, Effect81.gen(function* () {
    yield* usable2(way.files(system2), system2);
    return { file: yield* way.stage(system2, stagedAt(system2, token), scratch), token };
  })),
  discard: (system2, token) => worded2("PUBLISH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    const left17 = ((yield* files4.entries(system2.imagePath)) ?? []).filter((name) => name.startsWith(`${STAGING}${token}.`));
    yield* Effect81.forEach(left17, (name) => files4.unlink(nodePath31.join(system2.imagePath, name)), { discard: true });
  })),
  staged: (system2) => worded2("IMAGE_PATH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    yield* present(files4, system2);
    const found = ((yield* files4.entries(system2.imagePath)) ?? []).flatMap((name) => {
      const [, token] = stagedName.exec(name) ?? [];
      return token === void 0 ? [] : [{ name, token }];
    });
    const known2 = yield* Effect81.forEach(
      found,
      ({ name, token }) => Effect81.gen(function* () {
        const file = nodePath31.join(system2.imagePath, name);
        const modified2 = yield* files4.modified(file);
        const facts = yield* files4.attributes(file);
        return modified2 === void 0 || facts === void 0 ? void 0 : { name, token, bytes: facts.size, modified: modified2 };
      }),
      { concurrency: PARALLEL_READS }
    );
    return known2.filter((file) => file !== void 0);
  })),
  publish: (system2, staging, record, fence) => publish(way, system2, staging, record, fence),
  record: (system2, id) => worded2("IMAGE_PATH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    yield* present(files4, system2);
    const record = yield* readRecord(files4, system2, id);
    return record !== void 0 && (yield* sizeOf(files4, system2, id)) === record.imageSize ? record : void 0;
  })),
  image: (system2, id, scratch) => worded2("IMAGE_PATH_FAILED", system2, way.fetch(system2, path2(system2, id, "squashfs"), scratch)),
  open: (system2, id) => worded2("IMAGE_PATH_FAILED", system2, Effect81.map(way.open(system2, path2(system2, id, "squashfs")), (read10) => (at, length) => worded2("IMAGE_PATH_FAILED", system2, read10(at, length)))),
  isSound: (system2, record) => worded2("IMAGE_PATH_FAILED", system2, way.files(system2).holds(path2(system2, record.id, "squashfs"), record)),
  name: (system2, name, token) => worded2("PUBLISH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    const owner = yield* usable2(files4, system2);
    const record = (yield* files4.attributes(path2(system2, name.id, "meta"))) === void 0 ? yield* readRecord(files4, system2, name.id) : void 0;
    if (record !== void 0) yield* writeMeta(files4, system2, record, owner, token);
    yield* writeName(files4, system2, name, owner, token);
  })),
  lookup: (system2, canonical) => worded2("IMAGE_PATH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    yield* present(files4, system2);
    const name = yield* readName(files4, system2, pathOf(canonical));
    return name?.reference === canonical ? name.id : void 0;
  })),
  setAccess: (system2, id, token, change) => worded2("PUBLISH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    const owner = yield* usable2(files4, system2);
    const record = yield* readRecord(files4, system2, id);
    if (record === void 0) return yield* new TransportError(errorFields("IMAGE_NOT_FOUND", `The image ${id} is not published on ${system2.name}`));
    const changed = { ...record, ...change(record) };
    yield* encode2(changed);
    const file = path2(system2, id, "squashfs");
    yield* Effect81.uninterruptible(
      Effect81.gen(function* () {
        if (changed.access === "private") yield* files4.own(file, modeOf(system2, "private"), owner);
        yield* writeMeta(files4, system2, changed, owner, token);
        yield* writeRecord(files4, system2, changed, owner, token);
        if (changed.access === "public") yield* files4.own(file, modeOf(system2, "public"), owner);
      })
    );
    return changed;
  })),
  list: (system2) => worded2("IMAGE_PATH_FAILED", system2, Effect81.suspend(() => {
    const files4 = way.files(system2);
    return Effect81.zipRight(present(files4, system2), inventory(files4, system2));
  })),
  unname: (system2, canonical) => worded2("IMAGE_PATH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    yield* present(files4, system2);
    const file = nodePath31.join(system2.imagePath, pathOf(canonical));
    const removed2 = yield* files4.unlink(file);
    if (removed2) yield* files4.sync(nodePath31.dirname(file));
    return removed2;
  })),
  remove: (system2, id) => worded2("IMAGE_PATH_FAILED", system2, Effect81.gen(function* () {
    const files4 = way.files(system2);
    yield* present(files4, system2);
    const removed2 = yield* Effect81.forEach(["meta", "record", "squashfs"], (suffix) => files4.unlink(path2(system2, id, suffix)));
    yield* files4.sync(system2.imagePath);
    return removed2.includes(true);
  }))
});
var publish = (way, system2, staging, record, fence) => Effect81.gen(function* () {
  const files4 = way.files(system2);
  const owner = yield* worded2("IMAGE_PATH_UNUSABLE", system2, usable2(files4, system2));
  const mode = modeOf(system2, record.access);
  const target2 = path2(system2, record.id, "squashfs");
  const staged = stagedAt(system2, staging.token);
  const published = yield* worded2("PUBLISH_FAILED", system2, files4.holds(target2, record));
  const work = Effect81.gen(function* () {
    if (!published) {
      yield* worded2("PUBLISH_FAILED", system2, way.carry(system2, staging.file, staged, record));
      yield* worded2("PUBLISH_FAILED", system2, files4.own(staged, mode, owner));
    }
    yield* Effect81.uninterruptibleMask(
      (restore) => Effect81.zipRight(
        restore(fence),
        worded2("PUBLISH_FAILED", system2, Effect81.gen(function* () {
          if (published) yield* files4.own(target2, mode, owner);
          else {
            yield* files4.link(staged, target2).pipe(Effect81.catchIf(isFault("EEXIST"), () => files4.rename(staged, target2)));
          }
          yield* files4.unlink(staged);
          yield* files4.sync(system2.imagePath);
          yield* writeRecord(files4, system2, record, owner, staging.token);
          yield* writeMeta(files4, system2, record, owner, staging.token);
          yield* writeName(files4, system2, { reference: record.reference, id: record.id }, owner, staging.token);
        }))
      )
    );
  });
  yield* Effect81.onError(work, () => Effect81.ignore(files4.unlink(staged)));
});
var path2 = (system2, id, suffix) => nodePath31.join(system2.imagePath, `${id}.${suffix}`);
var stagedAt = (system2, token) => nodePath31.join(system2.imagePath, `${STAGING}${token}.squashfs`);
var modeOf = (system2, access2) => access2 === "public" ? parseInt(system2.publicMode, 8) : 384;
var worded2 = (code, system2, effect7) => Effect81.mapError(effect7, (error) => {
  switch (error._tag) {
    case "TransportError":
      return error;
    case "FormatError":
      return new TransportError(carried(error));
    case "FileFault":
      if (code === "IMAGE_PATH_FAILED" && ["EACCES", "EPERM"].includes(systemCode(error.cause) ?? "")) return denied(system2, error.cause);
      return new TransportError(
        errorFields(storageCode(error.cause, code), `The image path ${system2.imagePath} of ${system2.name}: ${messageOf(error.cause)}`, { cause: error.cause })
      );
  }
});
var denied = (system2, cause) => new TransportError(
  errorFields("ACCESS_DENIED", `The image path ${system2.imagePath} of ${system2.name} is not this account's to read or change: ${messageOf(cause)}`, {
    remedy: "Ask as the account that pulls. Running an image needs no right to read there.",
    cause
  })
);
var unusable5 = (system2, why, remedy) => new TransportError(errorFields("IMAGE_PATH_UNUSABLE", `The image path ${system2.imagePath} of ${system2.name} ${why}`, remedy === void 0 ? {} : { remedy }));
var present = (files4, system2) => Effect81.gen(function* () {
  const found = yield* files4.root;
  if (found === void 0) return yield* unusable5(system2, "does not exist", "Mount its file system, or make it: docs/administrator.md says with which owner and mode.");
  if (!found.isDirectory()) return yield* unusable5(system2, "is no directory");
  return found;
});
var usable2 = (files4, system2) => Effect81.gen(function* () {
  const { gid, uid } = yield* present(files4, system2);
  const me2 = yield* files4.me;
  const components = system2.imagePath.split("/").filter((name) => name !== "" && name !== ".");
  for (let depth = system2.isPersonal ? components.length : 0; depth <= components.length; depth++) {
    const directory3 = `/${components.slice(0, depth).join("/")}`;
    const found = yield* files4.attributes(directory3);
    if (found === void 0) return yield* unusable5(system2, `lies below ${directory3}, which is gone`);
    const where = depth === components.length ? "" : `lies below ${directory3}, which `;
    if (found.isSymbolicLink()) return yield* unusable5(system2, `${where}is a symbolic link, which nodes do not follow`, `Name the path without links in the configuration.`);
    if (found.uid !== 0 && found.uid !== uid) return yield* unusable5(system2, `${where}belongs to uid ${found.uid}, not to root or the image owner`, `Run: chown root ${directory3}`);
    if ((found.mode & 18) !== 0) return yield* unusable5(system2, `${where}may be written by others`, `Run: chmod go-w ${directory3}`);
  }
  if (me2 !== 0 && uid !== me2) return yield* unusable5(system2, `belongs to uid ${uid}, not to uid ${me2} that pulls`, "Pull as the account that owns it.");
  return { uid, gid };
});
var replace = (files4, system2, file, bytes2, mode, owner, token) => {
  const temporary = nodePath31.join(system2.imagePath, `${STAGING}${token}.${randomBytes12(6).toString("hex")}`);
  return Effect81.zipRight(files4.write(temporary, bytes2, mode, owner), files4.rename(temporary, file)).pipe(
    Effect81.onError(() => Effect81.ignore(files4.unlink(temporary))),
    Effect81.zipRight(files4.sync(nodePath31.dirname(file)))
  );
};
var writeRecord = (files4, system2, record, owner, token) => Effect81.flatMap(encode2(record), (bytes2) => replace(files4, system2, path2(system2, record.id, "record"), bytes2, modeOf(system2, record.access), owner, token));
var writeMeta = (files4, system2, record, owner, token) => replace(files4, system2, path2(system2, record.id, "meta"), Buffer.from(encode3(record, record).text), modeOf(system2, record.access), owner, token);
var readRecord = (files4, system2, id) => {
  const file = path2(system2, id, "record");
  return Effect81.flatMap(files4.read(file, formatLimits.recordBytes), (bytes2) => bytes2 === void 0 ? Effect81.succeed(void 0) : sound(decode6(bytes2), file));
};
var sizeOf = (files4, system2, id) => Effect81.map(files4.attributes(path2(system2, id, "squashfs")), (found) => found?.size ?? -1);
var writeName = (files4, system2, name, owner, token) => Effect81.gen(function* () {
  const bytes2 = yield* encode4(name);
  const file = nodePath31.join(system2.imagePath, pathOf(name.reference));
  yield* ownDirectory(files4, nodePath31.join(system2.imagePath, "names"), owner);
  yield* ownDirectory(files4, nodePath31.dirname(file), owner);
  yield* replace(files4, system2, file, bytes2, 384, owner, token);
});
var ownDirectory = (files4, directory3, owner) => Effect81.gen(function* () {
  const found = yield* files4.attributes(directory3);
  if (found?.isDirectory() === true && found.uid === owner.uid) return;
  yield* files4.ownDirectory(directory3, owner);
  yield* files4.sync(nodePath31.dirname(directory3));
});
var readName = (files4, system2, file) => Effect81.flatMap(files4.read(nodePath31.join(system2.imagePath, file), formatLimits.nameBytes), (bytes2) => bytes2 === void 0 ? Effect81.succeed(void 0) : sound(decode9(bytes2), file));
var sound = (decoded, file) => Either26.mapLeft(decoded, (error) => new TransportError(errorFields(error.code, `${file}: ${error.what}`, { cause: error })));
var inventory = (files4, system2) => Effect81.gen(function* () {
  const problems = [];
  const readable2 = (where, read10) => Effect81.catchAll(read10, (error) => {
    problems.push({ where, what: error._tag === "FileFault" ? messageOf(error.cause) : error.message });
    return Effect81.succeed(void 0);
  });
  const here2 = new Set(yield* files4.entries(system2.imagePath));
  const ids = (suffix) => [...here2].filter((file) => file.endsWith(suffix) && isImageId(file)).map((file) => file.slice(0, -suffix.length));
  const records2 = yield* Effect81.forEach(
    ids(".record"),
    (id) => readable2(path2(system2, id, "record"), Effect81.gen(function* () {
      const record = yield* readRecord(files4, system2, id);
      if (record === void 0 || (yield* sizeOf(files4, system2, id)) === record.imageSize) return record;
      problems.push({ where: path2(system2, id, "squashfs"), what: "the image is missing or has another size than its record says" });
      return void 0;
    })),
    { concurrency: PARALLEL_READS }
  );
  for (const id of ids(".squashfs")) {
    if (!here2.has(`${id}.record`) && !here2.has(`${id}.meta`)) problems.push({ where: path2(system2, id, "squashfs"), what: "an image file without a record" });
  }
  const directories = (yield* files4.entries(nodePath31.join(system2.imagePath, "names"))) ?? [];
  const placed = yield* Effect81.forEach(
    directories,
    (directory3) => readable2(`names/${directory3}`, Effect81.gen(function* () {
      const found = yield* files4.entries(nodePath31.join(system2.imagePath, "names", directory3));
      if (found === void 0) return yield* new TransportError(errorFields("RECORD_INVALID", `names/${directory3} is no directory`));
      return found.map((file) => `names/${directory3}/${file}`);
    })),
    { concurrency: PARALLEL_READS }
  );
  const names2 = yield* Effect81.forEach(
    placed.flatMap((some7) => some7 ?? []),
    (file) => readable2(file, Effect81.gen(function* () {
      const name = yield* readName(files4, system2, file);
      if (name === void 0 || pathOf(name.reference) === file) return name;
      return yield* new TransportError(errorFields("RECORD_INVALID", `${file} holds the name ${name.reference}, whose place is ${pathOf(name.reference)}`));
    })),
    { concurrency: PARALLEL_READS }
  );
  return {
    records: records2.filter((record) => record !== void 0),
    names: names2.filter((name) => name !== void 0).sort((a, b) => a.reference < b.reference ? -1 : 1),
    problems
  };
});

// src/transports/local/index.ts
init_Transport();

// src/transports/local/files.ts
init_Disk();
import { createHash as createHash15 } from "node:crypto";
import { constants as constants9 } from "node:fs";
import { link as link4, lstat as lstat5, mkdir as mkdir5, open as open21, readdir as readdir6, rename as rename8, stat as stat8, unlink } from "node:fs/promises";
import * as Effect82 from "effect/Effect";
var io = (operation) => Effect82.uninterruptible(Effect82.tryPromise({ try: operation, catch: (cause) => new FileFault({ cause }) }));
var opened6 = (file, flags, mode) => Effect82.acquireRelease(
  io(() => open21(file, flags | constants9.O_NOFOLLOW, mode)),
  (handle) => Effect82.promise(() => handle.close().catch(() => void 0))
);
var withFile = (file, flags, use, mode) => Effect82.scoped(Effect82.flatMap(opened6(file, flags, mode), use));
var reading = (file) => Effect82.gen(function* () {
  const handle = yield* opened6(file, constants9.O_RDONLY | constants9.O_NONBLOCK);
  if (!(yield* io(() => handle.stat())).isFile()) return yield* new FileFault({ cause: new Error(`${file} is no regular file`) });
  return (at, length) => io(async () => {
    const piece = Buffer.allocUnsafeSlow(length);
    let got = 0;
    while (got < length) {
      const { bytesRead } = await handle.read(piece, got, length - got, at + got);
      if (bytesRead === 0) break;
      got += bytesRead;
    }
    return piece.subarray(0, got);
  });
});
var me = () => process.geteuid?.() ?? 0;
var give = (handle, owner) => me() === 0 ? io(() => handle.chown(owner.uid, owner.gid)) : Effect82.void;
var PIECE4 = 1024 * 1024;
var hashed2 = (handle) => Effect82.gen(function* () {
  const hash2 = createHash15("sha256");
  const piece = Buffer.allocUnsafeSlow(PIECE4);
  for (let size = 0; ; ) {
    const { bytesRead } = yield* io(() => handle.read(piece, 0, PIECE4, size));
    if (bytesRead === 0) return hash2.digest("hex");
    hash2.update(piece.subarray(0, bytesRead));
    size += bytesRead;
  }
});
var files3 = (system2) => ({
  me: Effect82.sync(me),
  // Only a person's own is made.
  root: Effect82.zipRight(system2.isPersonal ? io(() => makeDirectory(system2.imagePath, true)) : Effect82.void, ifThere(io(() => stat8(system2.imagePath)))),
  attributes: (path3) => ifThere(io(() => lstat5(path3))),
  modified: (path3) => ifThere(Effect82.map(io(() => lstat5(path3)), ({ mtimeMs }) => mtimeMs)),
  entries: (directory3) => ifThere(io(() => readdir6(directory3))),
  read: (file, limit2) => ifThere(
    withFile(file, constants9.O_RDONLY | constants9.O_NONBLOCK, (handle) => Effect82.gen(function* () {
      const found = yield* io(() => handle.stat());
      if (!found.isFile()) return yield* new FileFault({ cause: new Error("it is no regular file") });
      if (found.size > limit2) return yield* new FileFault({ cause: new Error(`it is larger than ${limit2} bytes`) });
      return yield* io(() => handle.readFile());
    }))
  ),
  write: (file, bytes2, mode, owner) => withFile(file, constants9.O_WRONLY | constants9.O_CREAT | constants9.O_EXCL, (handle) => Effect82.gen(function* () {
    yield* io(() => handle.writeFile(bytes2));
    yield* give(handle, owner);
    yield* io(() => handle.chmod(mode));
    yield* io(() => handle.sync());
  }), 384),
  rename: (from, to) => io(() => rename8(from, to)),
  link: (from, to) => io(() => link4(from, to)),
  unlink: (file) => Effect82.map(ifThere(Effect82.as(io(() => unlink(file)), true)), (removed2) => removed2 ?? false),
  ownDirectory: (directory3, owner) => Effect82.gen(function* () {
    yield* io(() => mkdir5(directory3, { mode: 448 })).pipe(Effect82.catchIf(isFault("EEXIST"), () => Effect82.void));
    yield* withFile(directory3, constants9.O_RDONLY | constants9.O_DIRECTORY, (handle) => Effect82.zipRight(give(handle, owner), io(() => handle.chmod(448))));
  }),
  own: (file, mode, owner) => withFile(file, constants9.O_RDONLY, (handle) => Effect82.gen(function* () {
    yield* give(handle, owner);
    yield* io(() => handle.chmod(mode));
    yield* io(() => handle.sync());
  })),
  sync: (directory3) => withFile(directory3, constants9.O_RDONLY | constants9.O_DIRECTORY, (handle) => io(() => handle.sync())),
  holds: (file, { imageSha256, imageSize }) => withFile(file, constants9.O_RDONLY | constants9.O_NONBLOCK, (handle) => Effect82.gen(function* () {
    const found = yield* io(() => handle.stat());
    return found.isFile() && found.size === imageSize && (yield* hashed2(handle)) === imageSha256;
  })).pipe(Effect82.catchIf(isFault("ENOENT", "ELOOP", "ENXIO"), () => Effect82.succeed(false)))
});

// src/transports/local/index.ts
var layer11 = Layer12.succeed(
  Transport,
  transport({
    files: files3,
    ready: () => Effect83.void,
    // Packed where it is published from: no byte is copied.
    stage: (_, staged) => Effect83.acquireRelease(Effect83.as(io(() => rm13(staged, { force: true })), staged), () => Effect83.promise(() => rm13(staged, { force: true }).catch(() => void 0))),
    carry: () => Effect83.void,
    fetch: (_, file) => Effect83.succeed(file),
    open: (_, file) => reading(file)
  })
);

// src/transports/ssh/index.ts
init_Errors();
import { randomBytes as randomBytes13 } from "node:crypto";
import { rm as rm15 } from "node:fs/promises";
import * as nodePath32 from "node:path";
import * as Effect90 from "effect/Effect";
import * as Layer13 from "effect/Layer";
init_Transport();

// src/transports/ssh/Hosts.ts
init_Errors();
init_SshSettings();
import * as Data7 from "effect/Data";
import * as Duration8 from "effect/Duration";
import * as Effect87 from "effect/Effect";
import * as RcMap from "effect/RcMap";

// src/transports/ssh/Connection.ts
init_Errors();
import * as Data6 from "effect/Data";
import * as Effect85 from "effect/Effect";
import * as Redacted11 from "effect/Redacted";
import * as Schema37 from "effect/Schema";

// src/transports/ssh/KnownHosts.ts
import { createHmac, timingSafeEqual } from "node:crypto";
var SSH_PORT2 = 22;
var keysOf = (text5, { host: host2, port }) => {
  const name = port === SSH_PORT2 ? host2 : `[${host2}]:${port}`;
  const keys = [];
  const revoked = [];
  for (const line of text5.split("\n")) {
    const words = line.trim().split(/\s+/);
    const marker = words[0]?.startsWith("@") === true ? words.shift() : void 0;
    const [names2, type, encoded] = words;
    if (names2 === void 0 || type === void 0 || encoded === void 0 || names2.startsWith("#") || !isNamed(names2, name)) continue;
    if (marker === void 0) keys.push(Buffer.from(encoded, "base64"));
    if (marker === "@revoked") revoked.push(Buffer.from(encoded, "base64"));
  }
  return { keys, revoked };
};
var typeOf = (key) => key.length < 4 ? "" : key.toString("latin1", 4, 4 + Math.min(key.readUInt32BE(0), 64));
var algorithms = (keys) => [...new Set(keys.flatMap((key) => offered.get(typeOf(key)) ?? []))];
var offered = /* @__PURE__ */ new Map([
  ["ssh-ed25519", ["ssh-ed25519"]],
  ["ecdsa-sha2-nistp256", ["ecdsa-sha2-nistp256"]],
  ["ecdsa-sha2-nistp384", ["ecdsa-sha2-nistp384"]],
  ["ecdsa-sha2-nistp521", ["ecdsa-sha2-nistp521"]],
  ["ssh-rsa", ["rsa-sha2-512", "rsa-sha2-256"]]
]);
var isNamed = (names2, name) => {
  if (names2.startsWith("|")) return isHashOf(names2, name);
  const matching = names2.split(",").filter((each) => patternOf(each.replace(/^!/, "")).test(name));
  return matching.length > 0 && !matching.some((each) => each.startsWith("!"));
};
var patternOf = (glob) => new RegExp(`^${glob.toLowerCase().replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".")}$`);
var isHashOf = (hashed3, name) => {
  const [, kind3, salt = "", hash2 = ""] = hashed3.split("|");
  const wanted = Buffer.from(hash2, "base64");
  const found = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return kind3 === "1" && wanted.length === found.length && timingSafeEqual(wanted, found);
};

// src/transports/ssh/Secrets.ts
init_Errors();
import { constants as constants10 } from "node:fs";
import { open as open22 } from "node:fs/promises";
import * as Effect84 from "effect/Effect";
import * as Redacted10 from "effect/Redacted";
var invalid5 = (what, options2) => new TransportError(errorFields("CONFIG_INVALID", what, options2));
var MOST3 = 1024 * 1024;
var readFile9 = (what, file, isSecret) => Effect84.acquireUseRelease(
  Effect84.tryPromise({
    try: () => open22(file, constants10.O_RDONLY | constants10.O_NONBLOCK),
    catch: (cause) => invalid5(`The ${what} ${file} can't be read: ${messageOf(cause)}`, { remedy: "Name a file that the account that pulls may read.", cause })
  }),
  (handle) => Effect84.gen(function* () {
    const failed6 = (cause) => invalid5(`The ${what} ${file} can't be read: ${messageOf(cause)}`, { cause });
    const found = yield* Effect84.tryPromise({ try: () => handle.stat(), catch: failed6 });
    if (!found.isFile() || found.size > MOST3) return yield* invalid5(`The ${what} ${file} is no regular file of at most ${MOST3} bytes`);
    if (isSecret && (found.mode & 63) !== 0) {
      return yield* invalid5(`The ${what} ${file} may be read or written by others`, { remedy: `Run: chmod 600 ${file}` });
    }
    return yield* Effect84.tryPromise({ try: () => handle.readFile(), catch: failed6 });
  }),
  (handle) => Effect84.promise(() => handle.close().catch(() => void 0))
);
var knownHosts = (file) => Effect84.map(readFile9("file of known hosts", file, false), (bytes2) => bytes2.toString("utf8"));
var privateKey = (file) => Effect84.map(readFile9("private key", file, true), Redacted10.make);
var passphrase = (file) => Effect84.map(readFile9("passphrase file", file, true), (bytes2) => Redacted10.make(bytes2.toString("utf8").split("\n")[0] ?? ""));
var unusableKey = (file, cause) => invalid5(`The private key ${file} can't be used: ${cause.message}`, { remedy: "Name a private key in OpenSSH's form, with its passphraseFile where it has a passphrase.", cause });

// src/transports/ssh/Connection.ts
var Target = class extends Data6.Class {
};
var hostOf2 = ({ host: host2, port }) => host2.includes(":") ? `[${host2}]:${port}` : `${host2}:${port}`;
var Unreachable = class extends Data6.TaggedError("Unreachable") {
};
var Broken = class extends Data6.TaggedError("Broken") {
};
var CONNECT_MILLIS = 1e4;
var ANSWER_MILLIS = 12e4;
var KEEPALIVE_MILLIS = 1e4;
var KEEPALIVES = 3;
var COMMANDS = 4;
var MOST_SAID = 64 * 1024;
var PROBE_SECONDS = 30;
var EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
var connect = (target2, lost) => Effect85.gen(function* () {
  const host2 = hostOf2(target2);
  const { algorithm, isKnown } = yield* hostKeys(target2);
  const identity = yield* identityOf(target2);
  const { default: ssh2 } = yield* Effect85.promise(() => import("ssh2"));
  const auth = yield* authentication(target2, identity, ssh2.utils.parseKey);
  const pending = /* @__PURE__ */ new Set();
  let over;
  let isOurs = false;
  const client = yield* Effect85.acquireRelease(
    Effect85.sync(() => new ssh2.Client()),
    (made3) => Effect85.sync(() => made3.destroy())
  );
  const end = (why) => {
    if (over !== void 0) return;
    over = new Broken({ host: host2, why });
    client.destroy();
    for (const each of [...pending]) each(over);
    pending.clear();
  };
  const awaited = (millis4, begin2) => Effect85.async((resume) => {
    if (over !== void 0) return resume(over);
    const timer = setTimeout(() => {
      end(`it gave no answer within ${Math.round(millis4 / 1e3)} s`);
    }, millis4);
    const settle2 = (effect7) => {
      clearTimeout(timer);
      pending.delete(settle2);
      resume(effect7);
    };
    pending.add(settle2);
    begin2(settle2);
    return Effect85.sync(() => {
      clearTimeout(timer);
      pending.delete(settle2);
    });
  });
  yield* established(client, target2, { ...auth, algorithms: { serverHostKey: [...algorithm] } }, isKnown);
  client.on("error", (error) => {
    end(messageOf(error));
  }).on("close", () => {
    end("the host closed it");
    if (!isOurs) Effect85.runFork(lost);
  });
  yield* Effect85.addFinalizer(() => Effect85.sync(() => {
    isOurs = true;
    end("it was closed here");
  }));
  const unsuitable2 = (why, remedy) => new TransportError(errorFields("IMAGE_PATH_UNUSABLE", `The host ${host2} ${why}`, { remedy }));
  const unreachable2 = Effect85.mapError((error) => error._tag === "Broken" ? new Unreachable(error) : error);
  const sftp = yield* awaited(CONNECT_MILLIS, (settle2) => {
    client.sftp((error, made3) => {
      settle2(error === void 0 ? Effect85.succeed(made3) : unsuitable2(`gives ${target2.username} no SFTP: ${messageOf(error)}`, "Let its sshd have the subsystem sftp."));
    });
  }).pipe(unreachable2);
  sftp.on("error", (error) => {
    end(messageOf(error));
  }).on("close", () => {
    end("the SFTP server ended");
  });
  const line = yield* Effect85.makeSemaphore(COMMANDS);
  const session = {
    host: host2,
    ask: (what, send3) => awaited(ANSWER_MILLIS, (settle2) => {
      const failed6 = (error) => {
        const fault2 = answered(error, `${what} on ${host2}`);
        if (fault2 === void 0) end(messageOf(error));
        else settle2(new FileFault({ cause: fault2 }));
      };
      try {
        send3(sftp, (error, value9) => {
          if (error === void 0 || error === null) settle2(Effect85.succeed(value9));
          else failed6(error);
        });
      } catch (error) {
        settle2(new FileFault({ cause: error }));
      }
    }),
    run: (command, seconds8) => line.withPermits(1)(Effect85.suspend(() => {
      let channel;
      let isWanted = true;
      return awaited(seconds8 * 1e3, (settle2) => {
        client.exec(command, (error, stream2) => {
          if (error !== void 0) return settle2(Effect85.succeed({ status: void 0, stdout: "", stderr: messageOf(error) }));
          channel = stream2;
          if (!isWanted) stream2.close();
          listen(stream2, (said4) => {
            settle2(Effect85.succeed(said4));
          });
        });
      }).pipe(Effect85.onInterrupt(() => Effect85.sync(() => {
        isWanted = false;
        channel?.close();
      })));
    }))
  };
  const probe = yield* session.run("id -u; sha256sum </dev/null", PROBE_SECONDS).pipe(unreachable2);
  const [, uid, digest] = /(?:^|\n)(\d+)\s*(?:\n([0-9a-f]{64})\s+\S+\s*)?$/.exec(probe.stdout) ?? [];
  if (uid === void 0) {
    return yield* unsuitable2(`runs no commands for ${target2.username}: ${said3(probe)}`, "Let the account have a shell: the hash of what was sent is computed there.");
  }
  if (digest !== EMPTY_SHA256) return yield* unsuitable2(`has no sha256sum: ${said3(probe)}`, "Install it there (coreutils): the hash of what was sent is computed there.");
  for (const extension of ["posix-rename@openssh.com", "hardlink@openssh.com"]) {
    if (!extensions(sftp).has(extension)) return yield* unsuitable2(`has an SFTP server without ${extension}`, "Let its sshd use the SFTP server of OpenSSH: an image appears whole by it.");
  }
  return { ...session, me: Number(uid) };
});
var said3 = ({ status, stderr, stdout }) => printable([stderr.trim(), stdout.trim()].find((text5) => text5 !== "")?.slice(-500) ?? `it said nothing (status ${status ?? "unknown"})`);
var canSync = (sftp) => extensions(sftp).has("fsync@openssh.com");
var Extended = Schema37.Struct({ _extensions: Schema37.Record({ key: Schema37.String, value: Schema37.String }) });
var extensions = (sftp) => new Set(Object.keys(Schema37.is(Extended)(sftp) ? sftp._extensions : {}));
var hostKeys = (target2) => Effect85.gen(function* () {
  const host2 = hostOf2(target2);
  const known2 = keysOf(yield* knownHosts(target2.knownHosts), target2);
  const algorithm = algorithms(known2.keys);
  if (algorithm.length === 0) {
    return yield* refusedKey(`${known2.keys.length === 0 ? "No key" : "No key of a type that is supported"} of ${host2} is in ${target2.knownHosts}`);
  }
  const has = (keys, key) => keys.some((each) => each.equals(key));
  return {
    algorithm,
    isKnown: (key) => {
      if (has(known2.revoked, key)) return refusedKey(`The key that ${host2} shows is revoked in ${target2.knownHosts}`);
      return has(known2.keys, key) ? void 0 : refusedKey(`The key (${printable(typeOf(key))}) that ${host2} shows is not the one in ${target2.knownHosts}`);
    }
  };
});
var refusedKey = (what) => new TransportError(errorFields("SSH_HOST_KEY_REFUSED", what));
var identityOf = ({ keyFile, passphraseFile }) => Effect85.all({
  key: keyFile === void 0 ? Effect85.succeed(void 0) : privateKey(keyFile),
  passphrase: passphraseFile === void 0 ? Effect85.succeed(void 0) : passphrase(passphraseFile)
});
var authentication = ({ agent: agent2, keyFile }, { key, passphrase: passphrase2 }, parse8) => {
  if (key === void 0 || keyFile === void 0) return Effect85.succeed({ agent: agent2 ?? "", authHandler: ["agent"] });
  const privateKey2 = Redacted11.value(key);
  const secret = passphrase2 === void 0 ? void 0 : Redacted11.value(passphrase2);
  const parsed = parse8(privateKey2, secret);
  if (parsed instanceof Error) return unusableKey(keyFile, parsed);
  return Effect85.succeed({ privateKey: privateKey2, authHandler: ["publickey"], ...secret === void 0 ? {} : { passphrase: secret } });
};
var established = (client, target2, config, isKnown) => Effect85.async((resume) => {
  const host2 = hostOf2(target2);
  let refusal5;
  const settle2 = (effect7) => {
    clearTimeout(timer);
    resume(effect7);
  };
  const timer = setTimeout(() => {
    settle2(new Unreachable({ host: host2, why: `it did not answer within ${CONNECT_MILLIS / 1e3} s` }));
  }, CONNECT_MILLIS);
  client.once("ready", () => {
    settle2(Effect85.succeed(void 0));
  }).on("error", (error) => {
    settle2(refusal5 ?? notLetIn(target2, error));
  }).once("close", () => {
    settle2(refusal5 ?? new Unreachable({ host: host2, why: "it closed the connection" }));
  });
  client.connect({
    ...config,
    host: target2.host,
    port: target2.port,
    username: target2.username,
    readyTimeout: 0,
    keepaliveInterval: KEEPALIVE_MILLIS,
    keepaliveCountMax: KEEPALIVES,
    hostVerifier: (key) => {
      refusal5 = isKnown(key);
      return refusal5 === void 0;
    }
  });
  return Effect85.sync(() => {
    clearTimeout(timer);
  });
});
var notLetIn = (target2, error) => {
  const host2 = hostOf2(target2);
  const why = printable(messageOf(error));
  if (error.level === "client-authentication" || error.level === "agent") {
    const by = target2.keyFile === void 0 ? `the agent ${target2.agent ?? ""}` : `the key ${target2.keyFile}`;
    return new TransportError(errorFields("SSH_UNAUTHORIZED", `The host ${host2} does not let ${target2.username} in by ${by}: ${why}`));
  }
  if (/no matching host key/i.test(why)) return refusedKey(`The host ${host2} has no key of a type that ${target2.knownHosts} knows of it`);
  return new Unreachable({ host: host2, why });
};
var codes = /* @__PURE__ */ new Map([
  [2, "ENOENT"],
  [3, "EACCES"],
  [4, "FAILURE"],
  [5, "EINVAL"],
  [8, "ENOTSUP"]
]);
var answered = (error, what) => {
  const code = codes.get(error.code);
  return code === void 0 ? void 0 : Object.assign(new Error(`${messageOf(error)}, ${what}`, { cause: error }), { code });
};
var listen = (stream2, done2) => {
  let stdout = "";
  let stderr = "";
  let status;
  stream2.on("data", (bytes2) => {
    stdout = (stdout + bytes2.toString("utf8")).slice(-MOST_SAID);
  }).on("exit", (code) => {
    status = code ?? void 0;
  }).on("close", () => {
    done2({ status, stdout, stderr });
  }).stderr.on("data", (bytes2) => {
    stderr = (stderr + bytes2.toString("utf8")).slice(-MOST_SAID);
  });
  stream2.end();
};

// src/transports/ssh/Throttle.ts
import * as Clock5 from "effect/Clock";
import * as Effect86 from "effect/Effect";
var LARGEST_PIECE = 240 * 1024;
var SMALLEST_PIECE = 1024;
var PACE = 8;
var make35 = (bytesPerSecond) => {
  if (bytesPerSecond === void 0) return { take: () => Effect86.void, piece: LARGEST_PIECE };
  let free = 0;
  return {
    piece: Math.max(SMALLEST_PIECE, Math.min(LARGEST_PIECE, Math.floor(bytesPerSecond / PACE))),
    take: (bytes2) => Effect86.flatMap(Clock5.currentTimeMillis, (now) => {
      const start2 = Math.max(now, free);
      free = start2 + bytes2 * 1e3 / bytesPerSecond;
      return start2 > now ? Effect86.sleep(Math.ceil(start2 - now)) : Effect86.void;
    })
  };
};

// src/transports/ssh/Hosts.ts
var IDLE = Duration8.seconds(30);
var ATTEMPTS = 6;
var FIRST_WAIT2 = Duration8.millis(250);
var NoneReached = class extends Data7.TaggedError("NoneReached") {
};
var make37 = Effect87.gen(function* () {
  const connections = yield* RcMap.make({
    lookup: (target2) => {
      const forget = Effect87.suspend(() => RcMap.invalidate(connections, target2));
      return Effect87.onError(connect(target2, forget), () => forget);
    },
    idleTimeToLive: IDLE
  });
  const known2 = /* @__PURE__ */ new WeakMap();
  return (system2, ssh) => {
    const state = known2.get(ssh) ?? { throttle: make35(ssh.bytesPerSecond), preferred: 0 };
    known2.set(ssh, state);
    const targets = ssh.hosts.map((host2) => new Target({ ...address(host2), username: ssh.username, keyFile: ssh.keyFile, agent: ssh.agent, passphraseFile: ssh.passphraseFile, knownHosts: ssh.knownHosts }));
    const session = Effect87.gen(function* () {
      const silent = [];
      for (const [turn] of targets.entries()) {
        const index = (state.preferred + turn) % targets.length;
        const target2 = targets[index];
        if (target2 === void 0) continue;
        const found = yield* RcMap.get(connections, target2).pipe(
          Effect87.catchTag("Unreachable", (unreachable2) => {
            silent.push(unreachable2);
            return Effect87.succeed(void 0);
          })
        );
        if (found === void 0) continue;
        state.preferred = index;
        return found;
      }
      return yield* new NoneReached({ each: silent });
    });
    const use = (act) => {
      const attempt = (failures) => Effect87.scoped(Effect87.flatMap(session, (found) => act(found, failures > 0))).pipe(
        Effect87.catchTags({
          Broken: (broken) => {
            state.preferred = (targets.findIndex((target2) => hostOf2(target2) === broken.host) + 1) % targets.length;
            return next(broken.progressed === true ? 1 : failures + 1, () => cut(system2, broken));
          },
          NoneReached: (none7) => failures === 0 ? unreachable(system2, none7) : next(failures + 1, () => unreachable(system2, none7))
        })
      );
      const next = (failures, failed6) => failures >= ATTEMPTS ? failed6() : Effect87.delay(Effect87.suspend(() => attempt(failures)), Duration8.times(FIRST_WAIT2, 2 ** (failures - 1)));
      return attempt(0);
    };
    return { system: system2, ssh, throttle: state.throttle, use };
  };
});
var cut = (system2, { host: host2, why }) => new TransportError(errorFields("SSH_CUT", `The connection to ${host2} of ${system2.name} was lost ${ATTEMPTS} times without getting further: ${why}`));
var unreachable = (system2, { each }) => new TransportError(errorFields("SSH_UNREACHABLE", `No host of ${system2.name} answers: ${each.map(({ host: host2, why }) => `${host2}: ${why}`).join("; ")}`));

// src/transports/ssh/Remote.ts
import * as Effect88 from "effect/Effect";
import * as Option9 from "effect/Option";
import * as Schema38 from "effect/Schema";
var READ = 1;
var WRITE = 2;
var CREATE = 8;
var TRUNCATE = 16;
var EXCLUSIVE = 32;
var fault = (code, text5) => new FileFault({ cause: Object.assign(new Error(`${code}: ${text5}`), { code }) });
var opened7 = (session, file, flags) => Effect88.acquireRelease(
  Effect88.map(session.ask(`opening ${file}`, (sftp, answer) => {
    sftp.open(file, flags, 384, answer);
  }), (bytes2) => ({ file, bytes: bytes2 })),
  ({ bytes: bytes2 }) => Effect88.ignore(done(session, `closing ${file}`, (sftp, answer) => {
    sftp.close(bytes2, answer);
  }))
);
var told6 = (session, what, send3) => session.ask(what, (sftp, answer) => {
  send3(sftp, (error) => {
    answer(error, void 0);
  });
});
var done = (session, what, send3) => Effect88.uninterruptible(told6(session, what, send3));
var attributes = (session, path3) => ifThere(session.ask(`looking at ${path3}`, (sftp, answer) => {
  sftp.lstat(path3, answer);
}));
var modified = (session, path3) => Effect88.map(
  ifThere(session.ask(`looking at ${path3}`, (sftp, answer) => {
    sftp.lstat(path3, answer);
  })),
  (found) => found === void 0 ? void 0 : found.mtime * 1e3
);
var target = (session, path3) => ifThere(session.ask(`looking at ${path3}`, (sftp, answer) => {
  sftp.stat(path3, answer);
}));
var entries2 = (session, directory3) => Effect88.map(
  ifThere(session.ask(`reading ${directory3}`, (sftp, answer) => {
    sftp.readdir(directory3, answer);
  })),
  (list4) => list4?.map(({ filename }) => filename)
);
var regular3 = (session, file) => Effect88.flatMap(attributes(session, file), (found) => found === void 0 || found.isFile() ? Effect88.succeed(found) : new FileFault({ cause: new Error("it is no regular file") }));
var read9 = (session, file, limit2) => Effect88.gen(function* () {
  const found = yield* regular3(session, file);
  if (found === void 0) return void 0;
  if (found.size > limit2) return yield* new FileFault({ cause: new Error(`it is larger than ${limit2} bytes`) });
  return yield* ifThere(Effect88.scoped(Effect88.flatMap(opened7(session, file, READ), (handle) => readAll(session, handle, found.size))));
});
var readAll = (session, handle, size) => Effect88.gen(function* () {
  const bytes2 = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const count3 = yield* readAt(session, handle, bytes2.subarray(at), at);
    if (count3 === 0) return bytes2.subarray(0, at);
    at += count3;
  }
  return bytes2;
});
var END_OF_FILE = 1;
var readAt = (session, { bytes: bytes2, file }, into, position) => session.ask(`reading ${file}`, (sftp, answer) => {
  sftp.read(bytes2, into, 0, into.length, position, (error, count3) => {
    if (isEnd2(error)) answer(void 0, 0);
    else answer(error, count3);
  });
});
var isEnd2 = (error) => typeof error === "object" && error !== null && "code" in error && error.code === END_OF_FILE;
var writeAt = (session, { bytes: bytes2, file }, from, position) => told6(session, `writing ${file}`, (sftp, answer) => {
  sftp.write(bytes2, from, 0, from.length, position, answer);
});
var sizeOf2 = (session, { bytes: bytes2, file }) => session.ask(`looking at ${file}`, (sftp, answer) => {
  sftp.fstat(bytes2, answer);
});
var setMode = (session, { bytes: bytes2, file }, mode) => done(session, `changing the mode of ${file}`, (sftp, answer) => {
  sftp.fchmod(bytes2, mode, answer);
});
var truncate = (session, { bytes: bytes2, file }) => done(session, `emptying ${file}`, (sftp, answer) => {
  sftp.fsetstat(bytes2, { size: 0 }, answer);
});
var give2 = (session, { bytes: bytes2, file }, { gid, uid }) => session.me === 0 ? done(session, `changing the owner of ${file}`, (sftp, answer) => {
  sftp.fchown(bytes2, uid, gid, answer);
}) : Effect88.void;
var sync16 = (session, { bytes: bytes2, file }) => done(session, `making ${file} durable`, (sftp, answer) => {
  if (canSync(sftp)) sftp.ext_openssh_fsync(bytes2, (error) => {
    answer(error);
  });
  else answer();
});
var owned = (session, handle, mode, owner) => Effect88.gen(function* () {
  yield* give2(session, handle, owner);
  yield* setMode(session, handle, mode);
  yield* sync16(session, handle);
});
var own3 = (session, file, mode, owner) => Effect88.gen(function* () {
  if ((yield* regular3(session, file)) === void 0) return yield* fault("ENOENT", `there is no ${file} on ${session.host}`);
  yield* Effect88.scoped(Effect88.flatMap(opened7(session, file, READ), (handle) => owned(session, handle, mode, owner)));
});
var write3 = (session, again2, file, bytes2, mode, owner) => Effect88.scoped(
  Effect88.gen(function* () {
    const handle = yield* opened7(session, file, WRITE | CREATE | (again2 ? TRUNCATE : EXCLUSIVE));
    yield* Effect88.uninterruptible(writeAt(session, handle, Buffer.from(bytes2), 0));
    yield* owned(session, handle, mode, owner);
  })
);
var syncDirectory = (session, directory3) => Effect88.scoped(Effect88.flatMap(opened7(session, directory3, READ), (handle) => sync16(session, handle)));
var rename9 = (session, again2, from, to) => {
  const renamed = done(session, `renaming ${from}`, (sftp, answer) => {
    sftp.ext_openssh_rename(from, to, answer);
  });
  return again2 ? Effect88.asVoid(ifThere(renamed)) : renamed;
};
var link5 = (session, from, to) => orThere(session, to, done(session, `linking ${from}`, (sftp, answer) => {
  sftp.ext_openssh_hardlink(from, to, answer);
}));
var orThere = (session, path3, effect7) => Effect88.catchIf(effect7, isFault("FAILURE"), (failure) => Effect88.flatMap(attributes(session, path3), (found) => Effect88.fail(found === void 0 ? failure : fault("EEXIST", `there is ${path3} on ${session.host}`))));
var unlink2 = (session, file) => Effect88.map(ifThere(Effect88.as(done(session, `removing ${file}`, (sftp, answer) => {
  sftp.unlink(file, answer);
}), true)), (removed2) => removed2 ?? false);
var ownDirectory2 = (session, directory3, owner) => Effect88.gen(function* () {
  yield* orThere(session, directory3, done(session, `making ${directory3}`, (sftp, answer) => {
    sftp.mkdir(directory3, { mode: 448 }, answer);
  })).pipe(
    Effect88.catchIf(isFault("EEXIST"), () => Effect88.void)
  );
  const found = yield* attributes(session, directory3);
  if (found?.isDirectory() !== true) return yield* fault("ENOTDIR", `${directory3} on ${session.host} is no directory`);
  yield* Effect88.scoped(Effect88.flatMap(opened7(session, directory3, READ), (handle) => Effect88.zipRight(give2(session, handle, owner), setMode(session, handle, 448))));
});
var Room = Schema38.Struct({ f_bsize: Schema38.Number, f_frsize: Schema38.Number, f_bfree: Schema38.Number, f_bavail: Schema38.Number, f_files: Schema38.Number, f_ffree: Schema38.Number });
var ALMOST_NOTHING2 = 1024 * 1024;
var orFull = (session, directory3, effect7) => Effect88.catchIf(effect7, isFault("FAILURE"), (failure) => Effect88.gen(function* () {
  const answer = yield* session.ask(`asking for the room of ${directory3}`, (sftp, settle2) => {
    sftp.ext_openssh_statvfs(directory3, settle2);
  }).pipe(
    Effect88.catchTag("FileFault", () => Effect88.succeed(void 0))
  );
  const room2 = Option9.getOrUndefined(Schema38.decodeUnknownOption(Room)(answer));
  const free = room2 === void 0 ? Infinity : (session.me === 0 ? room2.f_bfree : room2.f_bavail) * room2.f_frsize;
  const isFull2 = free < ALMOST_NOTHING2 || room2 !== void 0 && room2.f_files > 0 && room2.f_ffree === 0;
  return yield* Effect88.fail(isFull2 ? fault("ENOSPC", `no space left on ${session.host}`) : failure);
}));
var HASHED = /(?:^|\n)([0-9a-f]{64}) +\S+\s*$/;
var BYTES_PER_SECOND = 1e6;
var LEAST_SECONDS = 600;
var sha256 = (session, file, size) => Effect88.flatMap(session.run(`sha256sum < ${quoted(file)}`, LEAST_SECONDS + size / BYTES_PER_SECOND), (answer) => {
  const digest = answer.status === 0 ? HASHED.exec(answer.stdout)?.[1] : void 0;
  return digest === void 0 ? new FileFault({ cause: new Error(`sha256sum of ${file} on ${session.host}: ${said3(answer)}`) }) : Effect88.succeed(digest);
});
var quoted = (text5) => `'${text5.replaceAll("'", "'\\''")}'`;
var holds = (session, file, image2) => Effect88.gen(function* () {
  const found = yield* attributes(session, file);
  return found !== void 0 && found.isFile() && found.size === image2.imageSize && (yield* sha256(session, file, image2.imageSize)) === image2.imageSha256;
});

// src/transports/ssh/Transfer.ts
init_Errors();
import { constants as constants11 } from "node:fs";
import { open as open23, rm as rm14 } from "node:fs/promises";
import * as Effect89 from "effect/Effect";
import * as Ref8 from "effect/Ref";
var PIECES = 16;
var LFS_SECONDS = 60;
var local = (failing, file, flags) => Effect89.acquireRelease(
  here(failing, file, () => open23(file, flags | constants11.O_NOFOLLOW, 384)),
  (handle) => Effect89.promise(() => handle.close().catch(() => void 0))
);
var here = (failing, file, operation) => Effect89.uninterruptible(
  Effect89.tryPromise({ try: operation, catch: (cause) => new TransportError(errorFields(storageCode(cause, failing), `The file ${file}: ${messageOf(cause)}`, { cause })) })
);
var begun = { confirmed: 0, beyond: /* @__PURE__ */ new Map() };
var moved = ({ beyond, confirmed }, from, to) => {
  const ends = new Map(beyond).set(from, to);
  for (let end = ends.get(confirmed); end !== void 0; end = ends.get(confirmed)) {
    ends.delete(confirmed);
    confirmed = end;
  }
  return { confirmed, beyond: ends };
};
var pieces = (reached, size, progress, move) => Effect89.gen(function* () {
  const { piece, take: take3 } = reached.throttle;
  let next = (yield* Ref8.updateAndGet(progress, ({ confirmed }) => ({ ...begun, confirmed }))).confirmed;
  const worker = Effect89.gen(function* () {
    const buffer = Buffer.allocUnsafeSlow(Math.min(piece, Math.max(size, 1)));
    while (next < size) {
      const from = next;
      const to = Math.min(from + buffer.length, size);
      next = to;
      yield* take3(to - from);
      yield* move(buffer.subarray(0, to - from), from);
      yield* Ref8.update(progress, (before) => moved(before, from, to));
    }
  });
  yield* Effect89.all(Array.from({ length: PIECES }, () => worker), { concurrency: "unbounded", discard: true });
});
var resumed = (reached, progress, attempt) => reached.use((session) => Effect89.gen(function* () {
  const { confirmed: before } = yield* Ref8.get(progress);
  return yield* Effect89.scoped(attempt(session)).pipe(
    Effect89.catchTag("Broken", (broken) => Effect89.flatMap(Ref8.get(progress), ({ confirmed }) => new Broken({ host: broken.host, why: broken.why, progressed: confirmed > before })))
  );
}));
var fill = (handle, file, piece, at) => here("PUBLISH_FAILED", file, async () => {
  for (let got = 0; got < piece.length; ) {
    const { bytesRead } = await handle.read(piece, got, piece.length - got, at + got);
    if (bytesRead === 0) throw new Error("it became shorter");
    got += bytesRead;
  }
});
var send2 = (reached, file, staged, image2) => Effect89.scoped(
  Effect89.gen(function* () {
    const handle = yield* local("PUBLISH_FAILED", file, constants11.O_RDONLY);
    const progress = yield* Ref8.make(begun);
    yield* resumed(reached, progress, (session) => orFull(session, reached.system.imagePath, Effect89.gen(function* () {
      const far = yield* stagedFile(session, reached, staged, image2.imageSize, progress);
      yield* pieces(reached, image2.imageSize, progress, (piece, at) => Effect89.zipRight(fill(handle, file, piece, at), writeAt(session, far, piece, at)));
      yield* sync16(session, far);
    })));
    const isRight = yield* reached.use((session) => holds(session, staged, image2));
    if (!isRight) {
      return yield* new TransportError(
        errorFields("IMAGE_VERIFY_FAILED", `What was sent to ${staged} of ${reached.system.name} is not what is there`, {
          remedy: "Run it again; if it comes back, check the file system there, and memory and disk of both machines."
        })
      );
    }
  })
);
var stagedFile = (session, reached, staged, size, progress) => Effect89.gen(function* () {
  const { stripe } = reached.ssh;
  const isThere = (yield* attributes(session, staged)) !== void 0;
  if (!isThere && stripe !== void 0) yield* striped(session, reached, stripe, staged);
  const far = yield* opened7(session, staged, WRITE | (isThere || stripe !== void 0 ? 0 : CREATE | EXCLUSIVE));
  const found = yield* sizeOf2(session, far);
  if ((found.mode & 511) !== 384) yield* setMode(session, far, 384);
  if (found.size > size) yield* truncate(session, far);
  yield* Ref8.update(progress, ({ confirmed }) => ({ ...begun, confirmed: found.size > size ? 0 : Math.min(confirmed, found.size) }));
  return far;
});
var lfs = (session, { system: system2 }, command) => Effect89.flatMap(Effect89.uninterruptible(session.run(command, LFS_SECONDS)), (answer) => answer.status === 0 ? Effect89.void : new TransportError(
  errorFields("IMAGE_PATH_UNUSABLE", `The host ${session.host} of ${system2.name} can't make striped files on ${system2.imagePath}: ${said3(answer)}`, {
    remedy: 'Leave "stripe" out where the image path is not on Lustre; else install lfs of its client on that host.'
  })
));
var canStripe = (reached) => reached.ssh.stripe === void 0 ? Effect89.void : reached.use((session) => lfs(session, reached, `lfs getstripe -d ${quoted(reached.system.imagePath)}`));
var striped = (session, reached, { count: count3, size }, staged) => {
  const layout2 = [...count3 === void 0 ? [] : ["-c", String(count3)], ...size === void 0 ? [] : ["-S", String(size)]].join(" ");
  return lfs(session, reached, `umask 077; lfs setstripe ${layout2} ${quoted(staged)}`);
};
var image = (session, file) => Effect89.gen(function* () {
  const found = yield* attributes(session, file);
  if (found === void 0 || !found.isFile()) return yield* new FileFault({ cause: new Error(`${file} on ${session.host} is no regular file`) });
  return { far: yield* opened7(session, file, READ), size: found.size };
});
var fillFrom = (session, far, piece, at) => Effect89.gen(function* () {
  let got = 0;
  while (got < piece.length) {
    const count3 = yield* readAt(session, far, piece.subarray(got), at + got);
    if (count3 === 0) break;
    got += count3;
  }
  return got;
});
var reading2 = (reached, file) => Effect89.as(
  reached.use((session) => Effect89.scoped(image(session, file))),
  (at, length) => reached.use(
    (session) => Effect89.scoped(
      Effect89.gen(function* () {
        const { far } = yield* image(session, file);
        const bytes2 = Buffer.allocUnsafeSlow(length);
        for (let from = 0; from < length; ) {
          const piece = bytes2.subarray(from, from + reached.throttle.piece);
          yield* reached.throttle.take(piece.length);
          const got = yield* fillFrom(session, far, piece, at + from);
          from += got;
          if (got < piece.length) return bytes2.subarray(0, from);
        }
        return bytes2;
      })
    )
  )
);
var fetch2 = (reached, file, to) => Effect89.gen(function* () {
  yield* Effect89.addFinalizer(() => Effect89.promise(() => rm14(to, { force: true }).catch(() => void 0)));
  const progress = yield* Ref8.make(begun);
  yield* Effect89.scoped(
    Effect89.gen(function* () {
      const handle = yield* local("EXPORT_FAILED", to, constants11.O_WRONLY | constants11.O_CREAT | constants11.O_EXCL);
      yield* resumed(reached, progress, (session) => Effect89.gen(function* () {
        const { far, size } = yield* image(session, file);
        yield* pieces(reached, size, progress, (piece, at) => Effect89.gen(function* () {
          const got = yield* fillFrom(session, far, piece, at);
          if (got < piece.length) return yield* new FileFault({ cause: new Error(`${file} on ${session.host} became shorter`) });
          yield* here("EXPORT_FAILED", to, async () => {
            for (let put4 = 0; put4 < piece.length; ) put4 += (await handle.write(piece, put4, piece.length - put4, at + put4)).bytesWritten;
          });
        }));
      }));
    })
  );
  return to;
});

// src/transports/ssh/index.ts
var layer12 = Layer13.scoped(
  Transport,
  Effect90.map(make37, (reach) => {
    const reached = (system2) => system2.ssh === void 0 ? new TransportError(errorFields("INTERNAL", `The system ${system2.name} is not reached by ssh`)) : Effect90.succeed(reach(system2, system2.ssh));
    return transport({
      files: (system2) => filesOf(system2, (act) => Effect90.flatMap(reached(system2), ({ use }) => use(act))),
      ready: (system2) => Effect90.flatMap(reached(system2), canStripe),
      stage: (_, staged, scratch) => {
        const file = nodePath32.join(scratch, nodePath32.basename(staged));
        const removed2 = Effect90.promise(() => rm15(file, { force: true }).catch(() => void 0));
        return Effect90.acquireRelease(Effect90.as(removed2, file), () => removed2);
      },
      carry: (system2, file, staged, image2) => Effect90.flatMap(reached(system2), (hosts) => send2(hosts, file, staged, image2)),
      fetch: (system2, file, scratch) => Effect90.flatMap(reached(system2), (hosts) => fetch2(hosts, file, nodePath32.join(scratch, `.${nodePath32.basename(file)}.${randomBytes13(6).toString("hex")}.part`))),
      open: (system2, file) => Effect90.flatMap(reached(system2), (hosts) => reading2(hosts, file))
    });
  })
);
var filesOf = (system2, use) => ({
  me: use(({ me: me2 }) => Effect90.succeed(me2)),
  root: use((session) => target(session, system2.imagePath)),
  attributes: (path3) => use((session) => attributes(session, path3)),
  modified: (path3) => use((session) => modified(session, path3)),
  entries: (directory3) => use((session) => entries2(session, directory3)),
  read: (file, limit2) => use((session) => read9(session, file, limit2)),
  write: (file, bytes2, mode, owner) => use((session, again2) => orFull(session, system2.imagePath, write3(session, again2, file, bytes2, mode, owner))),
  rename: (from, to) => use((session, again2) => rename9(session, again2, from, to)),
  link: (from, to) => use((session) => orFull(session, system2.imagePath, link5(session, from, to))),
  unlink: (file) => (
    // Looked for first: were the answer to its removal lost, nobody could tell whether it had been there.
    Effect90.flatMap(use((session) => attributes(session, file)), (found) => found === void 0 ? Effect90.succeed(false) : use((session, again2) => Effect90.map(unlink2(session, file), (removed2) => removed2 || again2)))
  ),
  ownDirectory: (directory3, owner) => use((session) => orFull(session, system2.imagePath, ownDirectory2(session, directory3, owner))),
  own: (file, mode, owner) => use((session) => own3(session, file, mode, owner)),
  sync: (directory3) => use((session) => syncDirectory(session, directory3)),
  holds: (file, image2) => use((session) => holds(session, file, image2))
});

// src/live.ts
var siteTransport = Layer14.scoped(
  Transport,
  Effect91.gen(function* () {
    const local2 = Context16.get(yield* Layer14.build(layer11), Transport);
    const ssh = Context16.get(yield* Layer14.build(layer12), Transport);
    const to = (system2) => system2.ssh === void 0 ? local2 : ssh;
    return Transport.of({
      ready: (system2) => to(system2).ready(system2),
      stage: (system2, ...args) => to(system2).stage(system2, ...args),
      discard: (system2, ...args) => to(system2).discard(system2, ...args),
      staged: (system2) => to(system2).staged(system2),
      publish: (system2, ...args) => to(system2).publish(system2, ...args),
      record: (system2, ...args) => to(system2).record(system2, ...args),
      image: (system2, ...args) => to(system2).image(system2, ...args),
      open: (system2, ...args) => to(system2).open(system2, ...args),
      isSound: (system2, ...args) => to(system2).isSound(system2, ...args),
      name: (system2, ...args) => to(system2).name(system2, ...args),
      lookup: (system2, ...args) => to(system2).lookup(system2, ...args),
      setAccess: (system2, ...args) => to(system2).setAccess(system2, ...args),
      list: (system2) => to(system2).list(system2),
      unname: (system2, ...args) => to(system2).unname(system2, ...args),
      remove: (system2, ...args) => to(system2).remove(system2, ...args)
    });
  })
);
var catalogLayer = (site) => site.postgres === void 0 ? layer9(site) : layer7(site.postgres);
var gatewayLayer = (site, parts = {}) => {
  const daemon = { socket: site.dockerDaemon.socket, headersSeconds: site.network.headersSeconds };
  const images2 = Layer14.unwrapEffect(
    Effect91.map(
      registrySource(site.registry, (host2) => site.dockerDaemon.pulls.has(host2) ? daemon : void 0, site.dockerLogins, parts.forStrangers),
      (registry2) => layer2([...parts.sources ?? [], registry2, layoutSource, dockerArchiveSource, ociArchiveSource, daemonSource(daemon), customSource, chosSource(site.chos), vmSource(site.vm)])
    )
  );
  const own4 = catalogLayer(site);
  const transport2 = parts.transport ?? siteTransport;
  const catalog = parts.catalog ?? own4;
  const packer = parts.packer ?? layerTar2sqfs;
  const executor = parts.executor ?? executorLayer(site, parts.places).pipe(Layer14.provide(catalog), Layer14.provide(packer));
  const index = parts.index ?? (parts.catalog === void 0 ? own4 : void 0);
  return layer4(site).pipe(
    Layer14.provide(images2),
    Layer14.provide(layer(site.network, site.proxy)),
    Layer14.provide(layer3(site)),
    Layer14.provide(index === void 0 ? transport2 : Layer14.merge(indexedTransport(site).pipe(Layer14.provide(transport2), Layer14.provide(index)), index)),
    Layer14.provide(catalog),
    Layer14.provide(packer),
    Layer14.provide(executor)
  );
};
var executorLayer = (site, places) => {
  const here2 = places === void 0 ? layerAtOnce : layerHere(places);
  const { conversions } = site;
  if (conversions === void 0) return here2;
  const { batch } = adapters[conversions.wlm](site, conversionSystem(site, conversions), conversions.options);
  const prefix = conversions.prefix ?? site.prefix ?? "/usr/local";
  return Layer14.provide(layer10({ batch, prefix, directory: conversions.directory, fromBytes: conversions.fromBytes, limits: site.limits }), here2);
};
var indexedTransport = (site) => Layer14.effect(
  Transport,
  Effect91.map(Effect91.all([Transport, ImageIndex]), ([transport2, index]) => indexed(transport2, index, expiryOf(site)))
);

// src/index.ts
init_Audit();
init_Catalog();
init_Digest();
init_Errors();
init_Executor();
init_Export();
init_Gateway();
init_Image();
init_ImageId();
init_ImageIndex();
init_Indexed();
init_ImageRecord();
init_ImageRef();
init_Limits();
init_Meta();
init_Packer();
init_Platform();
init_Progress();
init_RootfsStream();
init_Site();
init_Tokens();
init_Transport();
init_Upkeep();
init_Uploads();
var pullImage = (reference, options2 = {}) => withGateway(
  options2,
  (gateway) => gateway.pull({
    ...options2,
    reference,
    credentials: options2.credentials === void 0 ? void 0 : { username: options2.credentials.username, password: Redacted14.make(options2.credentials.password) }
  })
);
var withGateway = (options2, f) => promised(
  Effect101.gen(function* () {
    const place3 = yield* placeOf2(options2);
    const layer13 = place3._tag === "Here" ? gatewayLayer(place3.site) : yield* remoteLayer(place3.remote);
    return yield* Effect101.provide(Effect101.flatMap(Gateway, f), layer13);
  }),
  options2.signal
);
var placeOf2 = (options2) => Either27.mapLeft(place(options2), (error) => new GatewayError(carried(error)));
var remoteLayer = (remote, system2 = remote.system) => Effect101.map(Effect101.promise(() => Promise.resolve().then(() => (init_remote(), remote_exports))), ({ remoteGatewayLayer: remoteGatewayLayer2 }) => remoteGatewayLayer2({ ...remote, system: system2 }));
var promised = async (effect7, signal) => {
  const exit2 = await Effect101.runPromiseExit(Effect101.provide(effect7, toStandardError), signal === void 0 ? {} : { signal });
  if (Exit2.isSuccess(exit2)) return exit2.value;
  const failure = Cause3.failureOption(exit2.cause);
  if (failure._tag === "Some") throw failure.value;
  if (Cause3.isInterruptedOnly(exit2.cause)) throw new GatewayError(errorFields("CANCELLED", "The call was cancelled", { cause: signal?.reason }));
  const defect = Cause3.squash(exit2.cause);
  throw isShifterError(defect) ? defect : new GatewayError(errorFields("INTERNAL", `Unexpected: ${causes2(defect)}`, { cause: defect }));
};
var toStandardError = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(Logger.logfmtLogger));
var causes2 = (defect) => {
  const found = [];
  for (let each = defect; each !== void 0 && found.length < 5; each = typeof each === "object" && each !== null && "cause" in each ? each.cause : void 0) found.push(messageOf(each));
  return found.join(": ");
};

// ../../tmp/vmt/t.ts
console.time("pull");
var r = await pullImage(process.argv[2], { config: "/tmp/vmt/g.json", onProgress: (e) => {
  if (e._tag === "Warning" || e._tag === "Phase") console.log(e);
} }).catch((e) => {
  console.log(e.message);
  process.exit(1);
});
console.timeEnd("pull");
console.log(r);
