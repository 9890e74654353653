// Words.cs - label a cloud from C# with plain words, from a text encoder or from a vocabulary file that has them.

using System;
using OpenVocab3D;

internal static class Words
{
    // A square of floor and one of wall in Unity's axes; replace it by your own points.
    private static float[] MakePoints()
    {
        var positions = new float[3 * 5000];
        for (int i = 0; i < 5000; i++)
        {
            bool wall = i % 2 == 0;
            positions[3 * i] = i % 50 * 0.05f;
            positions[3 * i + 1] = wall ? i / 50 * 0.025f : 0.0f; // up
            positions[3 * i + 2] = wall ? 0.0f : i / 50 * 0.025f;
        }
        return positions;
    }

    private static Vocabulary MakeVocabulary(string path, string[] words)
    {
        if (System.IO.Directory.Exists(path))
        {
            using (TextEncoder encoder = TextEncoder.Load(path, 1)) return Vocabulary.FromTexts(encoder, words);
        }
        using (Vocabulary file = Vocabulary.Load(path)) return Vocabulary.FromNames(file, words);
    }

    private static void Run(string modelPath, string wordsPath, string[] words)
    {
        using (Model model = Model.Load(modelPath))
        using (Vocabulary vocabulary = MakeVocabulary(wordsPath, words))
        using (Session session = Session.Create(model))
        {
            session.SetVocabulary(vocabulary);
            using (Result result = session.Segment(MakePoints(), Axes.LeftHandedYUp))
            {
                int[] labels = result.Labels();
                for (int label = 0; label < vocabulary.Count; label++)
                {
                    int count = Array.FindAll(labels, l => l == label).Length;
                    Console.WriteLine("{0}: {1} points", vocabulary.Name(label), count);
                }
            }
        }
    }

    private static int Main(string[] arguments)
    {
        if (arguments.Length < 3)
        {
            Console.Error.WriteLine("usage: Words.exe MODEL (ENCODER_FOLDER | VOCABULARY) WORD...");
            return 2;
        }
        try
        {
            var words = new string[arguments.Length - 2];
            Array.Copy(arguments, 2, words, 0, words.Length);
            Run(arguments[0], arguments[1], words);
            return 0;
        }
        catch (OpenVocab3DException error)
        {
            Console.Error.WriteLine("Words.exe: " + error.Message);
            return 1;
        }
    }
}
