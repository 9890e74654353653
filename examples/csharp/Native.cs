// Native.cs - the part of openvocab3d.h that OpenVocab3D.cs uses. Structs have only blittable fields and are passed by
// reference; the library fills them with defaults, and their size keeps old programs working with newer libraries.

using System;
using System.Runtime.InteropServices;
using System.Text;

namespace OpenVocab3D
{
    internal static class Native
    {
        private const string Library = "openvocab3d";
        private const CallingConvention C = CallingConvention.Cdecl;
        private const uint InterfaceNumber = 1;

        internal const int DtypeF32 = 1;
        private const int Unsupported = -202;

        [StructLayout(LayoutKind.Sequential)]
        internal struct StridedView
        {
            internal IntPtr Data;
            internal ulong StrideBytes;
            internal int Dtype;
            internal uint Components;
            internal ulong Reserved0, Reserved1;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Cloud
        {
            internal uint StructSize;
            internal int Memory;
            internal ulong Count;
            internal StridedView Positions;
            internal StridedView Colors;
            internal double UnitInMetres;
            internal IntPtr Pose;
            internal int Axes;
            internal uint Flags;
            internal StridedView Normals;
            internal StridedView Superpoints;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct SessionDesc
        {
            internal uint StructSize;
            internal uint Device;
            internal uint Threads;
            internal uint Flags;
            internal ulong MemoryBudget;
            internal int Precision;
            internal uint Reserved;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct TextEncoderDesc
        {
            internal uint StructSize;
            internal uint Threads;
            internal int Precision;
            internal int Overflow;
            internal IntPtr TextSpace;
            internal uint Flags;
            internal uint Reserved;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct ResultView
        {
            internal uint StructSize;
            internal int Memory;
            internal ulong Points, Voxels;
            internal uint LabelCount, TopK, FeatureDim, Reserved;
            internal IntPtr Labels, Scores, TopLabels, TopScores, VoxelOfPoint, Coordinates, Features, Logits;
            internal ulong SuperpointCount, SuperpointPairs;
            internal IntPtr Superpoints, SuperpointSizes, SuperpointCentroids, SuperpointAdjacency, SuperpointFeatures;
        }

        [DllImport(Library, CallingConvention = C)]
        internal static extern uint ov3d_abi_version();
        [DllImport(Library, CallingConvention = C)]
        private static extern UIntPtr ov3d_last_error(byte[] buffer, UIntPtr capacity);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_model_load(byte[] path, IntPtr desc, out IntPtr model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_model_free(IntPtr model);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_vocabulary_load(byte[] path, out IntPtr vocabulary);
        [DllImport(Library, CallingConvention = C)]
        internal static extern UIntPtr ov3d_vocabulary_size(Vocabulary vocabulary);
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr ov3d_vocabulary_name(Vocabulary vocabulary, UIntPtr label);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_vocabulary_free(IntPtr vocabulary);

        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_vocabulary_from_texts(TextEncoder encoder, IntPtr[] texts, UIntPtr count,
                                                              IntPtr desc, out IntPtr vocabulary);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_vocabulary_from_names(Vocabulary source, IntPtr[] names, UIntPtr count,
                                                              IntPtr desc, out IntPtr vocabulary);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_text_encoder_desc_init(ref TextEncoderDesc desc, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_text_encoder_load(byte[] path, ref TextEncoderDesc desc, out IntPtr encoder);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_text_encoder_free(IntPtr encoder);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_session_desc_init(ref SessionDesc desc, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_session_create(Model model, ref SessionDesc desc, out IntPtr session);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_session_set_vocabulary(Session session, Vocabulary vocabulary);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_session_cancel(Session session);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_session_free(IntPtr session);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_cloud_init(ref Cloud cloud, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_segment(Session session, ref Cloud cloud, IntPtr desc, out IntPtr result);

        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_result_view_init(ref ResultView view, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int ov3d_result_get(Result result, ref ResultView view);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void ov3d_result_free(IntPtr result);

        internal static UIntPtr SizeOf<T>()
        {
            return (UIntPtr)(uint)Marshal.SizeOf(typeof(T));
        }

        // Throws what a status other than 0 stands for. Call it on the thread that made the call, at once.
        internal static void Check(int status)
        {
            if (status == 0) return;
            var message = new byte[(int)ov3d_last_error(null, UIntPtr.Zero)];
            ov3d_last_error(message, (UIntPtr)(uint)message.Length);
            throw new OpenVocab3DException(status, Encoding.UTF8.GetString(message, 0, message.Length - 1));
        }

        internal static void CheckInterface()
        {
            uint number = ov3d_abi_version();
            if (number < InterfaceNumber)
            {
                string older = "libopenvocab3d has interface number " + number + ", older than " + InterfaceNumber;
                throw new OpenVocab3DException(Unsupported, older + "; install a newer library");
            }
        }

        // NUL-terminated UTF-8.
        internal static byte[] Utf8(string text)
        {
            return Encoding.UTF8.GetBytes(text + "\0");
        }

        // Calls with every text as NUL-terminated UTF-8, which is freed afterwards.
        internal static T WithTexts<T>(string[] texts, Func<IntPtr[], T> call)
        {
            var pointers = new IntPtr[texts.Length];
            try
            {
                for (int i = 0; i < texts.Length; i++)
                {
                    byte[] bytes = Utf8(texts[i]);
                    pointers[i] = Marshal.AllocHGlobal(bytes.Length);
                    Marshal.Copy(bytes, 0, pointers[i], bytes.Length);
                }
                return call(pointers);
            }
            finally
            {
                foreach (IntPtr pointer in pointers) Marshal.FreeHGlobal(pointer);
            }
        }

        internal static string Text(IntPtr utf8)
        {
            if (utf8 == IntPtr.Zero) return null;
            int length = 0;
            while (Marshal.ReadByte(utf8, length) != 0) length++;
            var bytes = new byte[length];
            Marshal.Copy(utf8, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }
    }
}
